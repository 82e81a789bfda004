//! The sockets of a source of type `syslog`.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::SyslogSettings;
use tokio::net::{TcpListener, UdpSocket};

use super::datagrams;
use super::record::message_record;
use crate::record::Record;
use crate::source::framing::{Framing, RawRecord};
use crate::source::listener::{ClientSettings, RecordMaker, listen, serve_clients};
use crate::source::{SourceContext, SourceError};

/// How long a client may stop in the middle of a message.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Takes messages by UDP and TCP until the shutdown.
pub async fn run(settings: &SyslogSettings, context: &SourceContext) -> Result<(), SourceError> {
    let udp = if settings.udp {
        Some(datagrams::listen(settings.listen).await?)
    } else {
        None
    };
    let tcp = if settings.tcp {
        Some(listen(settings.listen).await?)
    } else {
        None
    };
    serve((udp, tcp), settings, context).await
}

pub(super) async fn serve(
    (udp, tcp): (Option<UdpSocket>, Option<TcpListener>),
    settings: &SyslogSettings,
    context: &SourceContext,
) -> Result<(), SourceError> {
    let clients = ClientSettings {
        framing: Framing::Syslog,
        tls: settings.tls.clone(),
        max_connections: settings.max_connections,
        stall_timeout: STALL_TIMEOUT,
    };
    let datagrams = async {
        match &udp {
            Some(socket) => datagrams::serve(socket, context).await,
            None => Ok(()),
        }
    };
    let connections = async {
        match tcp {
            Some(listener) => {
                let maker = MessageMaker {
                    zone: TimeZone::system(),
                };
                serve_clients(listener, &clients, context, maker).await
            }
            None => Ok(()),
        }
    };
    context.status.running();
    // An error of one ends the other, too: the source is started again.
    tokio::try_join!(datagrams, connections)?;
    Ok(())
}

#[derive(Debug, Clone)]
struct MessageMaker {
    zone: TimeZone,
}

impl RecordMaker for MessageMaker {
    fn record(&self, raw: &RawRecord<'_>, peer: IpAddr) -> Record {
        message_record(raw.bytes, peer, Timestamp::now(), &self.zone)
    }
}
