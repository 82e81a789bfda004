//! What every page has around it: title bar, links, user. Its markup is `templates/parts/base.html`.

use logferry_ledger::{Incident, Ledger};

use jiff::Timestamp;

use crate::app::state::AppState;
use crate::assets;
use crate::login::principal::Principal;

/// The pages of the title bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Windows,
    Live,
    Search,
    Tickets,
    Alerts,
    /// None of them.
    Other,
}

const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Overview, "/", "Overview"),
    (Tab::Windows, "/windows", "Windows"),
    (Tab::Live, "/live", "Live"),
    (Tab::Search, "/search", "Search"),
    (Tab::Tickets, "/tickets", "Tickets"),
    (Tab::Alerts, "/alerts", "Alerts"),
];

/// A link of the title bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameLink {
    pub(crate) href: &'static str,
    pub(crate) text: &'static str,
    pub(crate) is_current: bool,
    /// What waits there for somebody; 0 shows nothing.
    pub(crate) count: u64,
}

/// What a page needs besides its own contents.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    tab: Tab,
    open_incidents: u64,
    /// Who is logged in; `None` without logins, and on the login page.
    pub(crate) user: Option<String>,
    /// Where the assets are.
    pub(crate) assets: String,
    pub(crate) version: &'static str,
    /// The page fetches its parts anew so often.
    pub(crate) refresh_seconds: Option<u32>,
    /// Whether the bar has links and the search: whoever has not logged in can use none of them.
    pub(crate) has_links: bool,
}

impl Frame {
    /// Around the login.
    pub(crate) fn bare() -> Self {
        Self {
            has_links: false,
            ..Self::plain(Tab::Other)
        }
    }

    /// Around a page for nobody in particular: an error.
    pub(crate) fn plain(tab: Tab) -> Self {
        Self {
            tab,
            open_incidents: 0,
            user: None,
            assets: assets::folder(),
            version: env!("CARGO_PKG_VERSION"),
            refresh_seconds: None,
            has_links: true,
        }
    }

    /// Around a page for a reader.
    pub(crate) async fn of(state: &AppState, principal: &Principal, tab: Tab) -> Self {
        // A ledger that cannot be read is told by the page itself.
        let open = state.host.ledger(open_incidents).await;
        Self {
            open_incidents: open.unwrap_or(0),
            user: principal.login_name().map(str::to_owned),
            ..Self::plain(tab)
        }
    }

    /// The same page, whose parts are fetched anew so often.
    #[must_use]
    pub(crate) fn refreshed_every(self, seconds: u32) -> Self {
        Self {
            refresh_seconds: Some(seconds),
            ..self
        }
    }

    pub(crate) fn links(&self) -> Vec<FrameLink> {
        let link = |(tab, href, text): (Tab, &'static str, &'static str)| FrameLink {
            href,
            text,
            is_current: tab == self.tab,
            count: if tab == Tab::Alerts {
                self.open_incidents
            } else {
                0
            },
        };
        TABS.map(link).to_vec()
    }
}

fn open_incidents(ledger: &Ledger) -> Result<u64, logferry_ledger::LedgerError> {
    let incidents = ledger.incidents(Timestamp::MAX)?;
    Ok(incidents
        .iter()
        .filter(|incident: &&Incident| incident.is_open())
        .count() as u64)
}
