//! The modules of a crate, read from its source: their types, and which module uses which.
//!
//! Code for tests is left out: what stands under `#[cfg(test)]`. A name that a module re-exports counts as an import of the
//! module that defines it, so `pub use` does not hide a dependency. Paths in macros are found where they begin with
//! `crate`, `self` or `super`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The names from the crate's root down to a module; the root's is empty.
pub(crate) type ModulePath = Vec<String>;

/// Re-exports followed one after another; more would be a circle of them.
const REEXPORTS_MAX: usize = 8;

/// A module of a crate.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) path: ModulePath,
    pub(crate) file: String,
    /// Whether its file begins by saying what is in it.
    pub(crate) is_documented: bool,
    /// Its structs, enums, unions and traits, each with `file:line`.
    pub(crate) types: Vec<(String, String)>,
}

/// A use of one module by another.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) from: ModulePath,
    pub(crate) to: ModulePath,
    /// `file:line`
    pub(crate) place: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.join("::"), self.to.join("::"));
        write!(f, "{}: {from} uses {to}", self.place)
    }
}

/// A crate's modules, and their uses of each other.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
    pub(crate) imports: Vec<Import>,
}

/// What one pass over the source found.
#[derive(Default)]
struct Source {
    root: PathBuf,
    modules: Vec<Module>,
    /// Each with the path as written in place of `to`.
    mentions: Vec<Import>,
    /// For each module, what its `use` items bring in: the name, and the path as written.
    names: BTreeMap<ModulePath, BTreeMap<String, Vec<String>>>,
    /// The module and the file that are being read.
    module: ModulePath,
    file: PathBuf,
}

impl Crate {
    /// Reads the crate whose `lib.rs` or `main.rs` is `source`, relative to `root`.
    pub(crate) fn read(root: &Path, source: &Path) -> Result<Self> {
        let mut read = Source {
            root: root.to_owned(),
            ..Source::default()
        };
        read.file_of_module(source, Vec::new())?;
        // A path in the source is an import once it is known where the path leads.
        let mentions = std::mem::take(&mut read.mentions).into_iter();
        let imports = mentions.filter_map(|mut import| {
            import.to = read.resolve(&import.from, &import.to, 0)?;
            (import.to != import.from).then_some(import)
        });
        Ok(Self {
            imports: imports.collect(),
            modules: read.modules,
        })
    }

    /// Files that do not begin with `//!`.
    pub(crate) fn undocumented(&self) -> Vec<String> {
        let undocumented = self.modules.iter().filter(|module| !module.is_documented);
        undocumented
            .map(|module| format!("{}: begins without `//!`; say what is in it", module.file))
            .collect()
    }
}

impl Source {
    fn file_of_module(&mut self, file: &Path, path: ModulePath) -> Result<()> {
        let text =
            std::fs::read_to_string(self.root.join(file)).with_context(|| file.display().to_string())?;
        let syntax = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        self.modules.push(Module {
            path: path.clone(),
            file: file.display().to_string(),
            is_documented: text.starts_with("//!"),
            types: Vec::new(),
        });
        let outer = (
            std::mem::replace(&mut self.module, path),
            std::mem::replace(&mut self.file, file.to_owned()),
        );
        self.visit_file(&syntax);
        let children = syntax.items.iter().filter_map(|item| match item {
            syn::Item::Mod(item) if item.content.is_none() && !is_for_tests(&item.attrs) => {
                Some(item.ident.to_string())
            }
            _ => None,
        });
        for name in children {
            let folder = match file.file_name().and_then(|name| name.to_str()) {
                Some("lib.rs" | "main.rs" | "mod.rs") => file.with_file_name(""),
                _ => file.with_extension(""),
            };
            let flat = folder.join(format!("{name}.rs"));
            let child = if self.root.join(&flat).exists() {
                flat
            } else {
                folder.join(&name).join("mod.rs")
            };
            let path = [self.module.as_slice(), &[name]].concat();
            self.file_of_module(&child, path)?;
        }
        (self.module, self.file) = outer;
        Ok(())
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.modules.iter().any(|module| module.path == path)
    }

    /// The module that a path in `from` leads to; `None` if it leads out of the crate.
    fn resolve(&self, from: &[String], segments: &[String], reexports: usize) -> Option<ModulePath> {
        let (first, rest) = segments.split_first()?;
        let mut at = from.to_vec();
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            child if self.is_module(&[from, &[child.to_owned()]].concat()) => at.push(child.to_owned()),
            _ => return None,
        }
        for segment in rest {
            if segment == "super" {
                at.pop();
                continue;
            }
            let child = [at.as_slice(), std::slice::from_ref(segment)].concat();
            if self.is_module(&child) {
                at = child;
                continue;
            }
            let reexported = self.names.get(&at).and_then(|names| names.get(segment));
            if let Some(written) = reexported.filter(|_| reexports < REEXPORTS_MAX) {
                return self.resolve(&at, written, reexports + 1).or(Some(at));
            }
            break;
        }
        Some(at)
    }

    fn mention(&mut self, to: Vec<String>, line: usize) {
        let (from, place) = (self.module.clone(), self.place(line));
        self.mentions.push(Import { from, to, place });
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.file.display())
    }

    fn add_type(&mut self, name: &syn::Ident) {
        let place = self.place(name.span().start().line);
        let mut modules = self.modules.iter_mut().rev();
        if let Some(module) = modules.find(|module| module.path == self.module) {
            module.types.push((name.to_string(), place));
        }
    }

    /// Takes a `use` tree apart into whole paths.
    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String], line: usize) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let (path, name) = match tree {
            syn::UseTree::Path(tree) => return self.use_tree(&tree.tree, &with(&tree.ident), line),
            syn::UseTree::Group(tree) => {
                let items = tree.items.iter();
                return items.for_each(|item| self.use_tree(item, before, line));
            }
            syn::UseTree::Name(tree) if tree.ident == "self" => (before.to_vec(), before.last().cloned()),
            syn::UseTree::Name(tree) => (with(&tree.ident), Some(tree.ident.to_string())),
            syn::UseTree::Rename(tree) => (with(&tree.ident), Some(tree.rename.to_string())),
            syn::UseTree::Glob(_) => (before.to_vec(), None),
        };
        if let Some(name) = name {
            let names = self.names.entry(self.module.clone()).or_default();
            names.insert(name, path.clone());
        }
        self.mention(path, line);
    }

    /// Paths in a macro's tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                other => {
                    self.macro_path(std::mem::take(&mut path), line);
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.macro_path(path, line);
    }

    fn macro_path(&mut self, path: Vec<String>, line: usize) {
        if path.len() > 1 && matches!(path.first().map(String::as_str), Some("crate" | "self" | "super")) {
            self.mention(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if is_for_tests(attrs) {
            return;
        }
        match item {
            syn::Item::Struct(item) => self.add_type(&item.ident),
            syn::Item::Enum(item) => self.add_type(&item.ident),
            syn::Item::Union(item) => self.add_type(&item.ident),
            syn::Item::Trait(item) => self.add_type(&item.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[], item.use_token.span.start().line);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            let first = path.segments.first();
            let line = first.map_or(0, |first| first.ident.span().start().line);
            self.mention(segments.collect(), line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Whether an item is compiled for tests only.
fn is_for_tests(attrs: &[syn::Attribute]) -> bool {
    let is_test = |list: &syn::MetaList| {
        let tokens = list.tokens.to_string();
        let mut words = tokens.split(|letter: char| !letter.is_alphanumeric());
        words.any(|word| word == "test")
    };
    let mut cfgs = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    cfgs.any(|attr| attr.meta.require_list().is_ok_and(is_test))
}
