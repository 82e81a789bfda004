//! Clean stops: within the limit and with exit code 0, in every state of the other roles.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::LogWriter;
use crate::support::pipeline::{Pipeline, Role, files_below};
use crate::support::test_folder::free_port;
use crate::support::{WAIT_LIMIT, seed, wait_for};

const LINES_PER_SECOND: u32 = 4_000;

#[test]
fn stopping_each_role_under_load_loses_nothing() {
    let seed = seed();
    let mut pipeline = Pipeline::new("stop", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    for (role, signal) in Role::ALL
        .into_iter()
        .zip([Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM])
    {
        let lines = pipeline.delivered_lines();
        wait_for("more lines at the drop", WAIT_LIMIT, || {
            pipeline.delivered_lines() > lines
        });
        pipeline.stop(role, signal);
        pipeline.start(role);
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn sighup_stops_no_role() {
    let seed = seed();
    let mut pipeline = Pipeline::new("hang-up", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    for role in Role::ALL {
        pipeline.signal(role, Signal::SIGHUP);
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn sender_stops_cleanly_while_the_relay_is_down_or_silent() {
    let seed = seed();
    let mut pipeline = Pipeline::new("stop-sender", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    pipeline.kill(Role::Relay);
    pipeline.stop(Role::Sender, Signal::SIGTERM);

    let silent = SilentServer::listen();
    pipeline.config.sender_target_port = silent.port;
    pipeline.start(Role::Sender);
    let call = silent.wait_for_call();
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    drop(call);

    pipeline.config.sender_target_port = pipeline.config.relay_port;
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn sender_stops_cleanly_while_the_relay_is_paused() {
    let mut pipeline = Pipeline::new("stop-halted", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed());
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    pipeline.signal(Role::Relay, Signal::SIGSTOP);
    // The sender has open connections and waits for responses.
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    pipeline.start(Role::Sender);
    // A role installs its signal handlers before it takes its lock.
    let (lock, id) = (
        pipeline.config.state_dir.join("lock"),
        pipeline.process_id(Role::Sender).to_string(),
    );
    wait_for("the lock", WAIT_LIMIT, || {
        fs::read_to_string(&lock).is_ok_and(|holder| holder.trim() == id)
    });
    pipeline.stop(Role::Sender, Signal::SIGINT);
    pipeline.signal(Role::Relay, Signal::SIGCONT);
    pipeline.start(Role::Sender);
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn forwarder_stops_cleanly_while_its_destination_is_silent() {
    let mut pipeline = Pipeline::new("stop-forwarder", "1s");
    let silent = SilentServer::listen();
    let port = std::mem::replace(&mut pipeline.config.destination.port, silent.port);
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed());
    pipeline.start_all();
    let ready = pipeline.config.data_dir.join("ready");
    wait_for("a sealed batch", WAIT_LIMIT, || {
        files_below(&ready).is_ok_and(|files| !files.is_empty())
    });
    let call = silent.wait_for_call();
    pipeline.stop(Role::Forwarder, Signal::SIGTERM);
    drop(call);

    pipeline.config.destination.port = port;
    pipeline.start(Role::Forwarder);
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// A server that accepts connections and never responds.
struct SilentServer {
    listener: TcpListener,
    port: u16,
}

impl SilentServer {
    fn listen() -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, port }
    }

    fn wait_for_call(&self) -> TcpStream {
        let mut call = None;
        wait_for("a call", WAIT_LIMIT, || {
            call = self.listener.accept().ok();
            call.is_some()
        });
        call.expect("waited for").0
    }
}
