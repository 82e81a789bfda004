//! Links in the documents: the file is there, and so is the heading.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

/// A line for each link of a Markdown file to a file or a heading that is not there. Links to other hosts are not looked at.
pub(crate) fn faults(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for page in files.iter().filter(|file| is_page(file)) {
        for (line, target) in links(&prose(&read(root, page)?)) {
            if let Some(fault) = fault(root, page, &target)? {
                faults.push(format!("{}:{line}: {fault}", page.display()));
            }
        }
    }
    Ok(faults)
}

fn is_page(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

fn read(root: &Path, page: &Path) -> Result<String> {
    std::fs::read_to_string(root.join(page)).with_context(|| page.display().to_string())
}

fn fault(root: &Path, page: &Path, target: &str) -> Result<Option<String>> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        beside(page, path)
    };
    if !root.join(&file).exists() {
        return Ok(Some(format!("the link to {target} leads to no file")));
    }
    if heading.is_empty() || !is_page(&file) {
        return Ok(None);
    }
    let is_there = anchors(&prose(&read(root, &file)?)).contains(heading);
    Ok((!is_there).then(|| format!("the link to {target} leads to no heading")))
}

/// The path that a link of `page` means, from the root.
fn beside(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The text without its fenced blocks; the numbers of its lines stay.
fn prose(text: &str) -> String {
    let mut is_block = false;
    let lines = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_block ^= is_fence;
        if is_block || is_fence {
            "\n".to_owned()
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

/// The targets of `[text](target)`, with their lines from 1.
fn links(prose: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in prose.lines().enumerate() {
        let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let local = ends.filter(|(target, _)| !target.contains([' ', ':']));
        links.extend(local.map(|(target, _)| (index + 1, target.to_owned())));
    }
    links
}

/// The names of the headings, as GitHub makes them: lower case, spaces as dashes, no other punctuation; the second of the same
/// name ends in `-1`.
fn anchors(prose: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in prose.lines().filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let letters = title
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        let name: String = letters.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut unique = name.clone();
        let mut count = 0;
        while !names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}-{count}");
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let page = Path::new("docs/a.md");
        std::fs::create_dir(dir.path().join("docs")).unwrap();
        let write = |path: &Path, text: &str| {
            let path = dir.path().join(path);
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .unwrap();
        };
        write(page, text);
        write(
            Path::new("docs/b.md"),
            "# Over `HTTP`: a page\n## Same\n## Same\n",
        );
        faults(dir.path(), &[page.to_owned()]).unwrap()
    }

    #[test]
    fn links_that_lead_somewhere_are_no_faults() {
        let text = "# Top\n[a](b.md) [b](b.md#over-http-a-page) [c](../docs/b.md#same-1) [d](#top) [e](https://h/x#y)\n";
        assert_eq!(said(text), Vec::<String>::new());
    }

    #[test]
    fn lost_files_and_headings_are_named_with_their_line() {
        let text = "```\n[no](link.md)\n```\n[a](c.md)\n[b](b.md#other)\n";
        let expected = [
            "docs/a.md:4: the link to c.md leads to no file",
            "docs/a.md:5: the link to b.md#other leads to no heading",
        ];
        assert_eq!(said(text), expected);
    }
}
