//! `logferry console user|token`: who may look at the console.

mod password_prompt;

use std::path::Path;

use anyhow::anyhow;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_console::{Accounts, ConsoleError, ListedToken, ListedUser};
use logferry_text::Table;

use crate::args::console::{ConsoleCommand, TokenCommand, UserCommand};
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::owner;
use crate::roles::role::{Role, load_for};

/// Changes or lists the accounts of the console.
pub(crate) fn run(file: &Path, command: ConsoleCommand) -> Result {
    let config = load_for(file, Some(Role::Console))?;
    let Some(settings) = config.console else {
        return Err(crate::roles::role::missing_section(file, Role::Console));
    };
    owner::act_as_owner(&[&settings.state_dir])?;
    let mut accounts = Accounts::open(&settings.state_dir)?;
    match command {
        ConsoleCommand::User(command) => user(&mut accounts, command),
        ConsoleCommand::Token(command) => token(&mut accounts, command),
    }
}

fn user(accounts: &mut Accounts, command: UserCommand) -> Result {
    match command {
        UserCommand::Add { name, scope } => {
            if let Some(refused) = Accounts::name_refusal(&name) {
                return Err(Failure::Configuration(anyhow!(refused)));
            }
            let password = password_prompt::ask(&name)?;
            let is_new = accounts.put_user(&name, &password, scope).map_err(failure)?;
            let done = if is_new {
                "added"
            } else {
                "changed; its sessions are over"
            };
            console::print(&format!("user {name} (scope {scope}) {done}\n"))?;
        }
        UserCommand::List { json } => {
            let users = accounts.list()?.users;
            console::print_result(json, &users, |users| users_text(users))?;
        }
        UserCommand::Remove { name } => {
            let known = accounts
                .list()?
                .users
                .into_iter()
                .map(|user| user.name)
                .collect::<Vec<_>>();
            require_known("user", &name, &known)?;
            accounts.remove_user(&name)?;
            console::print(&format!("user {name} removed; its sessions are over\n"))?;
        }
    }
    Ok(CommandOutcome::Fine)
}

fn token(accounts: &mut Accounts, command: TokenCommand) -> Result {
    match command {
        TokenCommand::Add { name, scope, expires } => {
            let lasts = expires.map(|lasts| SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX));
            let text = accounts.add_token(&name, scope, lasts).map_err(failure)?;
            console::print(&format!("{text}\n"))?;
            console::print_error(
                "keep it now: it is not shown again; programs send it as `Authorization: Bearer TOKEN`",
            );
        }
        TokenCommand::List { json } => {
            let tokens = accounts.list()?.tokens;
            console::print_result(json, &tokens, |tokens| tokens_text(tokens, Timestamp::now()))?;
        }
        TokenCommand::Remove { name } => {
            let known = accounts
                .list()?
                .tokens
                .into_iter()
                .map(|token| token.name)
                .collect::<Vec<_>>();
            require_known("token", &name, &known)?;
            accounts.remove_token(&name)?;
            console::print(&format!("token {name} removed\n"))?;
        }
    }
    Ok(CommandOutcome::Fine)
}

/// What was typed is the cause of a refusal.
fn failure(error: ConsoleError) -> Failure {
    match error {
        error @ ConsoleError::Refused(_) => Failure::configuration(error),
        error => error.into(),
    }
}

fn require_known(kind: &str, name: &str, known: &[String]) -> Result<()> {
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Err(Failure::Configuration(anyhow!(
        "there is no {kind} {name}; there are: {known}"
    )))
}

fn users_text(users: &[ListedUser]) -> String {
    if users.is_empty() {
        return "no users; `logferry console user add NAME` adds one\n".to_owned();
    }
    let mut table = Table::new(["user", "scope", "since"]);
    for user in users {
        table.row([user.name.clone(), user.scope.to_string(), local(user.created_at)]);
    }
    table.to_string()
}

fn tokens_text(tokens: &[ListedToken], now: Timestamp) -> String {
    if tokens.is_empty() {
        return "no tokens; `logferry console token add NAME --scope read` adds one\n".to_owned();
    }
    let mut table = Table::new(["token", "scope", "since", "expires", "last used"]);
    for token in tokens {
        let expires = match token.expires_at {
            Some(until) if until <= now => format!("EXPIRED {}", local(until)),
            Some(until) => local(until),
            None => "never".to_owned(),
        };
        let used = token.last_used_at.map_or_else(|| "never".to_owned(), local);
        let row = [
            token.name.clone(),
            token.scope.to_string(),
            local(token.created_at),
            expires,
            used,
        ];
        table.row(row);
    }
    table.to_string()
}

fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%F %H:%M").to_string()
}
