//! tantivy: words with their positions, and the lines compressed by zstd.

use std::path::Path;

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{FAST, STORED, Schema, TEXT};
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::{Index, IndexSettings, IndexWriter, Order, TantivyDocument, doc};

use super::{SearchPeer, phrase};

/// Of its one thread. The store has a bound of 64 MiB too.
const MEMORY: usize = 64 << 20;

pub(super) struct TantivyIndex {
    writer: IndexWriter,
}

impl SearchPeer for TantivyIndex {
    const NAME: &'static str = "tantivy";

    fn create(dir: &Path) -> anyhow::Result<Self> {
        let mut schema = Schema::builder();
        schema.add_text_field("line", TEXT | STORED);
        schema.add_u64_field("number", FAST);
        let settings = IndexSettings {
            docstore_compression: Compressor::Zstd(ZstdCompressor::default()),
            ..IndexSettings::default()
        };
        let index = Index::builder()
            .schema(schema.build())
            .settings(settings)
            .create_in_dir(dir)?;
        Ok(Self {
            writer: index.writer_with_num_threads(1, MEMORY)?,
        })
    }

    fn add(&mut self, number: u64, line: &str) -> anyhow::Result<()> {
        let schema = self.writer.index().schema();
        let (text, order) = (schema.get_field("line")?, schema.get_field("number")?);
        self.writer.add_document(doc!(text => line, order => number))?;
        Ok(())
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        self.writer.commit()?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(self.writer.wait_merging_threads()?)
    }

    fn ask(dir: &Path, word: &str, limit: usize) -> anyhow::Result<u64> {
        let index = Index::open_in_dir(dir)?;
        let line = index.schema().get_field("line")?;
        let query = QueryParser::for_index(&index, vec![line]).parse_query(&phrase(word))?;
        let searcher = index.reader()?.searcher();
        let most = limit.min(usize::try_from(searcher.num_docs())?.max(1));
        let newest = TopDocs::with_limit(most).order_by_u64_field("number", Order::Desc);
        let mut hits = 0;
        for (_, address) in searcher.search(&query, &newest)? {
            let found: TantivyDocument = searcher.doc(address)?;
            hits += u64::from(found.get_first(line).is_some());
        }
        Ok(hits)
    }
}
