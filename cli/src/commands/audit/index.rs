//! `logferry audit --index`: counts the documents of each batch in OpenSearch, and compares them with what the indexer has
//! recorded as sent.

use std::path::Path;

use anyhow::anyhow;
use logferry_config::{Config, OpenSearchSettings};
use logferry_inspection::audit::{Audit, AuditedBatch, Discrepancy, DiscrepancyKind};
use logferry_numbers::{IndexReader, SinkBatch};
use logferry_opensearch::{OpenSearchClient, OpenSearchError};
use logferry_text::{count, count_of, error_chain, size};

use crate::output::exit::{Failure, Result};
use crate::roles::oneshot;

/// Most refused lines whose ids are named for one batch.
const REFUSED_SHOWN: usize = 3;

/// Counts each batch of the audit that the indexer has a record of. Adds the differences to the audit. Returns an error text if
/// the server could not be asked.
pub(super) fn count_documents(file: &Path, config: &Config, audit: &mut Audit) -> Result<Option<String>> {
    let indexer = config.indexer.as_ref();
    let Some((indexer, settings)) = indexer.and_then(|indexer| Some((indexer, indexer.opensearch.as_ref()?)))
    else {
        let file = file.display();
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no `opensearch` in an indexer section, so nothing can be counted; write it, or leave --index out"
        )));
    };
    let reader = IndexReader::open(&indexer.store_dir)?;
    let recorded = reader.sent_batches()?;
    let mut found = Vec::new();
    let mut unknown = 0_u64;
    let mut sent = Vec::new();
    for batch in &audit.batches {
        match recorded.get(&batch.name) {
            Some(record) => {
                found.extend(set_aside(batch, record, &reader)?);
                sent.push((batch, record));
            }
            None => unknown += u64::from(batch.lines > 0),
        }
    }
    let counted = oneshot::block_on(differences(settings, &sent))?;
    let unread = match counted {
        Ok(differences) => {
            found.extend(differences);
            None
        }
        Err(error) => {
            let text = format!(
                "cannot count the documents in OpenSearch: {}",
                error_chain(&error)
            );
            found.push(Discrepancy::new(DiscrepancyKind::IndexUnread, text.clone()));
            Some(text)
        }
    };
    audit.add(found);
    if unknown > 0 {
        let detail = format!(
            "batches that cannot be compared with OpenSearch: {}; they are not sent yet, or older than what the indexer keeps of them",
            count(unknown)
        );
        audit
            .warnings
            .push(Discrepancy::new(DiscrepancyKind::IndexUnknown, detail));
    }
    Ok(unread)
}

/// What the indexer's record says of lines that are not there.
fn set_aside(batch: &AuditedBatch, record: &SinkBatch, reader: &IndexReader) -> Result<Vec<Discrepancy>> {
    let mut found = Vec::new();
    if record.gap_bytes > 0 {
        let bytes = size(record.gap_bytes);
        let detail = format!("{bytes} of it were gone before they were sent to OpenSearch");
        found.push(of_batch(batch, DiscrepancyKind::IndexGap, detail));
    }
    if record.refused > 0 {
        let refused = reader.refused_documents(&batch.name)?;
        let named = refused.iter().take(REFUSED_SHOWN);
        let named =
            named.map(|line| format!("{}@{} ({}: {})", line.batch, line.from, line.status, line.reason));
        let named: Vec<_> = named.collect();
        let detail = format!(
            "OpenSearch refused {} of it: {}",
            count_of(record.refused, "line"),
            if named.is_empty() {
                "the reasons are not kept any more".to_owned()
            } else {
                named.join(", ")
            }
        );
        found.push(of_batch(batch, DiscrepancyKind::IndexRefused, detail));
    }
    Ok(found)
}

/// Counts on the server.
async fn differences(
    settings: &OpenSearchSettings,
    sent: &[(&AuditedBatch, &SinkBatch)],
) -> std::result::Result<Vec<Discrepancy>, OpenSearchError> {
    let mut client = OpenSearchClient::new(settings.clone());
    let mut found = Vec::new();
    if sent.is_empty() {
        return Ok(found);
    }
    let pattern = settings.index.pattern();
    client.refresh(std::slice::from_ref(&pattern)).await?;
    for (batch, record) in sent {
        let mut indices = vec![pattern.clone()];
        if !matches(&pattern, &record.index) {
            indices.push(record.index.clone());
            client.refresh(&indices).await?;
        }
        let there = client.count(&indices, &batch.name).await?;
        found.extend(difference(batch, record, there));
    }
    Ok(found)
}

/// More than recorded may be there while the batch is being sent.
fn difference(batch: &AuditedBatch, record: &SinkBatch, there: u64) -> Option<Discrepancy> {
    let (index, sent) = (&record.index, count(record.documents));
    if there < record.documents {
        let detail = format!("index {index} has {} of its {sent} documents", count(there));
        return Some(of_batch(batch, DiscrepancyKind::IndexMissing, detail));
    }
    (record.progress.is_read && there > record.documents).then(|| {
        let detail = format!(
            "index {index} and others of its name have {} documents of it, {sent} were sent",
            count(there)
        );
        of_batch(batch, DiscrepancyKind::IndexExtra, detail)
    })
}

/// Whether a pattern with `*` names this index.
fn matches(pattern: &str, index: &str) -> bool {
    logferry_config::TextPattern::of(pattern).matches(index.as_bytes())
}

fn of_batch(batch: &AuditedBatch, kind: DiscrepancyKind, detail: String) -> Discrepancy {
    Discrepancy {
        source: Some(batch.source.to_string()),
        batch: Some(batch.name.clone()),
        ..Discrepancy::new(kind, detail)
    }
}
