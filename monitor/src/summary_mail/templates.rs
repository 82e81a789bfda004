//! The templates of the mail: the built-in ones, or the user's own (`monitor.templates_dir`). They are minijinja's.
//!
//! What they can show is [`SummaryPage`]. A name that it does not have is a mistake, which `logferry check` tells with file and
//! line. A template that fails when its mail is due is replaced by the built-in one: no mail fails for it.

use std::path::{Path, PathBuf};

use logferry_ledger::NewMail;
use logferry_text::wrapped;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::page::SummaryPage;

/// The built-in templates, by the names that users' own have.
pub(crate) const BUILT_IN: [(&str, &str); 3] = [
    (
        "summary.subject.txt",
        include_str!("../../templates/summary.subject.txt"),
    ),
    ("summary.txt", include_str!("../../templates/summary.txt")),
    ("summary.html", include_str!("../../templates/summary.html")),
];

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("cannot read {} of monitor.templates_dir: {reason}; correct the setting, or its rights", .path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// It is wrong.
    #[error("{name}:{line}: the template is wrong: {reason}")]
    Wrong {
        /// Its file.
        name: String,
        /// The line of the mistake.
        line: usize,
        /// The mistake.
        reason: String,
    },
}

/// The templates of one mail.
#[derive(Debug)]
pub(crate) struct SummaryTemplates {
    environment: Environment<'static>,
    /// Of subject, text and HTML.
    names: [String; 3],
}

impl SummaryTemplates {
    pub(crate) fn built_in() -> Self {
        let mut environment = environment();
        for (name, source) in BUILT_IN {
            let added = environment.add_template(name, source);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        Self {
            environment,
            names: BUILT_IN.map(|(name, _)| name.to_owned()),
        }
    }

    /// Those of the folder; a file that is not there is the built-in one.
    pub(crate) fn in_folder(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut templates = Self::built_in();
        for (slot, (name, _)) in templates.names.iter_mut().zip(BUILT_IN) {
            let Some(path) = folder.map(|folder| folder.join(name)) else {
                continue;
            };
            let source = match std::fs::read_to_string(&path) {
                Ok(source) => source,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let reason = error.to_string();
                    return Err(TemplateError::Unreadable { path, reason });
                }
            };
            *slot = path.display().to_string();
            let added = templates.environment.add_template_owned(slot.clone(), source);
            added.map_err(|error| wrong(slot, &error))?;
        }
        Ok(templates)
    }

    pub(crate) fn render(&self, page: &SummaryPage) -> Result<NewMail, TemplateError> {
        let render = |name: &String| {
            let template = self.environment.get_template(name);
            let rendered = template.and_then(|template| template.render(Serde(page)));
            rendered.map_err(|error| wrong(name, &error))
        };
        let [subject, text, html] = &self.names;
        Ok(NewMail {
            subject: render(subject)?.split_whitespace().collect::<Vec<_>>().join(" "),
            text: render(text)?,
            html: Some(render(html)?),
        })
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    debug_assert!(syntax.is_ok(), "{syntax:?}");
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_auto_escape_callback(|name| {
        if Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    // Text in lines of at most 80 columns.
    environment.add_filter("wrap", |text: String| wrapped(&text).trim_end().to_owned());
    environment
}

fn wrong(name: &str, error: &minijinja::Error) -> TemplateError {
    let reason = match (error.kind(), error.detail()) {
        (minijinja::ErrorKind::UndefinedError, _) => {
            "it names something that does not exist; docs/monitor/mails.md lists what there is".to_owned()
        }
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    TemplateError::Wrong {
        name: error.name().unwrap_or(name).to_owned(),
        line: error.line().unwrap_or(0),
        reason,
    }
}
