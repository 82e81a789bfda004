//! A source of type `tcp`: clients write a record a line, text or JSON.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::TcpSettings;
use tokio::net::TcpListener;

use super::framing::{Framing, RawRecord};
use super::listener::{ClientSettings, RecordMaker, listen, serve_clients};
use super::{SourceContext, SourceError};
use crate::line_record::{RecordOrigin, of_line};
use crate::record::Record;

/// How long a client may stop in the middle of a line.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Serves clients until the shutdown.
pub async fn run(settings: &TcpSettings, context: &SourceContext) -> Result<(), SourceError> {
    let listener = listen(settings.listen).await?;
    serve(listener, settings, context).await
}

pub(super) async fn serve(
    listener: TcpListener,
    settings: &TcpSettings,
    context: &SourceContext,
) -> Result<(), SourceError> {
    let settings = ClientSettings {
        framing: Framing::Newline,
        tls: settings.tls.clone(),
        max_connections: settings.max_connections,
        stall_timeout: STALL_TIMEOUT,
    };
    let maker = LineMaker {
        zone: TimeZone::system(),
    };
    serve_clients(listener, &settings, context, maker).await
}

#[derive(Debug, Clone)]
struct LineMaker {
    zone: TimeZone,
}

impl RecordMaker for LineMaker {
    fn record(&self, raw: &RawRecord<'_>, peer: IpAddr) -> Record {
        let source = peer.to_canonical().to_string();
        let origin = RecordOrigin {
            arrival: Timestamp::now(),
            zone: &self.zone,
            source: &source,
        };
        of_line(raw.bytes, &origin)
    }
}
