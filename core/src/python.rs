//! The module `meshwg_core`.
//!
//! Endpoints are tuples here, as they are there: host, port, link and perhaps a source,
//! which is a host and the number of an interface. A panic becomes a `RuntimeError`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::carrier::{said, Carrier};
use crate::datapath::Datapath;
use crate::endpoint::{host_text, Endpoint, Source};
use crate::flows::{Direction, FlowKey, Flows};
use crate::session::{Session, SessionTerms};
use crate::shared::Shared;
use crate::table::LaneId;
use crate::up::{Target, Trouble};

type PySource = (String, u32);
type PyEndpoint = (String, u16, i64, Option<PySource>);
type PyBatch<'py> = Vec<Bound<'py, PyBytes>>;
type PyFlow = (PyBackedBytes, bool, Option<f64>);
type PyNote = (LaneId, Option<(u64, PyEndpoint)>, u64, bool, f64);

static LAST_SESSION: AtomicU64 = AtomicU64::new(0);

/// A keypair.
#[pyclass(frozen)]
struct CoreSession(Arc<Session>);

#[pymethods]
impl CoreSession {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    #[getter]
    fn sent(&self) -> u64 {
        self.0.sent()
    }

    #[setter]
    fn set_sent(&self, sent: u64) {
        self.0.set_sent(sent);
    }

    #[getter]
    fn expected(&self) -> u64 {
        self.0.expected()
    }

    fn retire(&self) {
        self.0.retire();
    }
}

/// The data path.
#[pyclass(frozen)]
struct Core {
    datapath: Datapath,
    carrier: Mutex<Option<Carrier>>,
}

impl Core {
    fn shared(&self) -> &Shared {
        &self.datapath.shared
    }

    fn carrier(&self) -> MutexGuard<'_, Option<Carrier>> {
        self.carrier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_lane(&self, lane: LaneId, change: impl FnOnce(&mut crate::table::Lane)) {
        if let Some(lane) = self.shared().table_to_change().lanes.get_mut(&lane) {
            change(lane);
        }
    }
}

// What it is told.
#[pymethods]
impl Core {
    #[new]
    fn new(mtu: usize, roaming: bool) -> PyResult<Self> {
        Ok(Core {
            datapath: Datapath::new(Arc::new(Shared::new(mtu, roaming)?)),
            carrier: Mutex::new(None),
        })
    }

    fn set_up(&self, is_up: bool) {
        self.shared().table_to_change().is_up = is_up;
    }

    fn set_mtu(&self, mtu: usize) {
        self.shared().table_to_change().mtu = mtu;
    }

    fn add_lane(&self) -> LaneId {
        self.shared().table_to_change().add_lane()
    }

    fn remove_lane(&self, lane: LaneId) {
        self.shared().table_to_change().lanes.remove(&lane);
    }

    fn steer(
        &self,
        lane: LaneId,
        first: Option<PyEndpoint>,
        second: Option<PyEndpoint>,
    ) -> PyResult<()> {
        let first = first.map(endpoint).transpose()?;
        let second = second.map(endpoint).transpose()?;
        self.change_lane(lane, |lane| {
            lane.endpoint = first;
            lane.second = second;
        });
        self.shared().up().steered(lane);
        Ok(())
    }

    fn limit(&self, lane: LaneId, longest: usize) {
        self.change_lane(lane, |lane| lane.longest = longest);
    }

    fn let_forward(&self, lane: LaneId, forwards: bool) {
        self.change_lane(lane, |lane| lane.forwards = forwards);
    }

    fn let_come_by(&self, lane: LaneId, hub: Option<LaneId>) {
        self.change_lane(lane, |lane| lane.via = hub);
    }

    fn insert_network(&self, address: &str, length: u32, lane: LaneId) -> PyResult<()> {
        let address = host(address)?;
        let mut table = self.shared().table_to_change();
        table.networks.insert(address, length, lane);
        Ok(())
    }

    fn remove_network(&self, address: &str, length: u32) -> PyResult<()> {
        let address = host(address)?;
        self.shared()
            .table_to_change()
            .networks
            .remove(address, length);
        Ok(())
    }

    fn accept_from(&self, networks: Vec<(String, u32, Vec<LaneId>)>) -> PyResult<()> {
        let networks: Vec<_> = networks
            .into_iter()
            .map(|(address, length, lanes)| Ok((host(&address)?, length, lanes)))
            .collect::<PyResult<_>>()?;
        let mut table = self.shared().table_to_change();
        table.accept_from(networks);
        Ok(())
    }

    fn deliver_only(&self, networks: Vec<(String, u32)>, members: bool) -> PyResult<()> {
        let networks: Vec<_> = networks
            .into_iter()
            .map(|(address, length)| Ok((host(&address)?, length)))
            .collect::<PyResult<_>>()?;
        let mut table = self.shared().table_to_change();
        table.deliver_only(networks, members);
        Ok(())
    }

    /// Return a new keypair.
    ///
    /// :param keys: for sending and for receiving.
    /// :param indices: the local and the remote one.
    /// :param until: when it ends to be usable for sealing, and for opening.
    fn make_session(
        &self,
        keys: ([u8; 32], [u8; 32]),
        indices: (u32, u32),
        until: (f64, f64),
    ) -> CoreSession {
        let terms = SessionTerms {
            id: LAST_SESSION.fetch_add(1, Relaxed) + 1,
            local_index: indices.0,
            remote_index: indices.1,
            usable_until: until.0,
            expires_at: until.1,
        };
        CoreSession(Arc::new(Session::new(&keys.0, &keys.1, terms)))
    }

    fn add_session(&self, lane: LaneId, session: &CoreSession) {
        let mut table = self.shared().table_to_change();
        table.add_session(lane, session.0.clone());
    }

    fn seal_with(&self, lane: LaneId, session: Option<&CoreSession>) {
        let session = session.map(|session| session.0.clone());
        self.change_lane(lane, |lane| lane.session = session);
    }

    fn remove_session(&self, session: &CoreSession) {
        self.shared().table_to_change().remove_session(&session.0);
    }

    fn set_channel(
        &self,
        peer: PyEndpoint,
        server: PyEndpoint,
        number: Option<u16>,
    ) -> PyResult<()> {
        let (peer, server) = (endpoint(peer)?, endpoint(server)?);
        self.shared()
            .table_to_change()
            .set_channel(peer, server, number);
        Ok(())
    }

    fn intercept_echoes(&self, identifiers: Vec<u16>) {
        let identifiers = identifiers.into_iter().collect();
        self.shared().table_to_change().echo_identifiers = identifiers;
    }

    /// Ask the owner what passes, or let all pass; nothing is known yet.
    fn set_filter(&self, is_filtered: bool) {
        self.shared().table_to_change().flows = is_filtered.then(Flows::default);
    }

    /// Let flows pass until then, or not any more: by key, and whether they come in.
    fn change_flows(&self, flows: Vec<PyFlow>) -> PyResult<()> {
        let mut table = self.shared().table_to_change();
        let Some(known) = &mut table.flows else {
            return Ok(());
        };
        for (key, is_inbound, until) in flows {
            let key = FlowKey::from_bytes(&key)
                .ok_or_else(|| PyValueError::new_err("It is no key of a flow"))?;
            known.set(key, direction(is_inbound), until);
        }
        Ok(())
    }

    fn clear_flows(&self, is_inbound: bool) {
        if let Some(known) = &mut self.shared().table_to_change().flows {
            known.clear(direction(is_inbound));
        }
    }

    /// Return the endpoints that are sent to from a source of theirs.
    fn pinned(&self) -> Vec<PyEndpoint> {
        let pinned = self.shared().table().pinned();
        pinned.iter().map(py_endpoint).collect()
    }

    /// Send to an endpoint from elsewhere than from its source.
    fn set_source(&self, to: PyEndpoint, from: Option<PySource>) -> PyResult<()> {
        let (to, from) = (endpoint(to)?, from.map(source).transpose()?);
        self.shared().table_to_change().set_source(to, from);
        Ok(())
    }

    fn clear_sources(&self) {
        self.shared().table_to_change().clear_sources();
    }
}

// Packets and datagrams.
#[pymethods]
impl Core {
    fn receive_packets(&self, packets: Vec<PyBackedBytes>, now: f64) -> PyResult<()> {
        let packets: Vec<&[u8]> = packets.iter().map(|packet| &packet[..]).collect();
        guarded(|| self.datapath.receive_packets(&packets, now))
    }

    fn send_judged(&self, packets: Vec<PyBackedBytes>, now: f64) -> PyResult<()> {
        let packets: Vec<&[u8]> = packets.iter().map(|packet| &packet[..]).collect();
        guarded(|| self.datapath.send_judged(&packets, now))
    }

    fn deliver_judged(&self, packets: Vec<PyBackedBytes>) {
        let packets = packets.iter().map(|packet| packet.to_vec());
        self.datapath.deliver_judged(packets);
    }

    fn receive_datagrams(
        &self,
        datagrams: Vec<PyBackedBytes>,
        from: PyEndpoint,
        now: f64,
    ) -> PyResult<()> {
        let from = endpoint(from)?;
        guarded(|| {
            let datagrams = datagrams.iter().map(|datagram| &datagram[..]);
            self.datapath.receive_datagrams(datagrams, from, now);
        })
    }

    fn seal(
        &self,
        lane: LaneId,
        packets: Vec<PyBackedBytes>,
        now: f64,
    ) -> PyResult<(usize, usize)> {
        let packets: Vec<&[u8]> = packets.iter().map(|packet| &packet[..]).collect();
        guarded(|| self.datapath.seal(lane, &packets, now))
    }

    fn seal_to(&self, lane: LaneId, to: PyEndpoint, now: f64) -> PyResult<usize> {
        let to = endpoint(to)?;
        guarded(|| self.datapath.seal_to(lane, to, now))
    }

    fn send(&self, lane: LaneId, message: Vec<u8>, to: Option<PyEndpoint>) -> PyResult<()> {
        let target = match to {
            Some(to) => Target::Elsewhere(endpoint(to)?),
            None => Target::Lane(lane),
        };
        self.datapath.send_message(target, message);
        Ok(())
    }

    fn datagrams_to_send<'py>(&self, py: Python<'py>) -> PyResult<Vec<(PyEndpoint, PyBatch<'py>)>> {
        let ready = guarded(|| self.datapath.datagrams_to_send())?;
        let ready = ready.iter();
        Ok(ready
            .map(|(to, messages)| (py_endpoint(to), batch(py, messages)))
            .collect())
    }

    fn packets_to_write<'py>(&self, py: Python<'py>) -> PyBatch<'py> {
        batch(py, &self.datapath.packets_to_write())
    }
}

// What goes up.
#[pymethods]
impl Core {
    /// Return the descriptor that becomes readable when something has come up.
    fn fileno(&self) -> i32 {
        self.shared().bell.descriptor()
    }

    fn clear_bell(&self) {
        self.shared().bell.clear();
    }

    fn take_notes(&self) -> Vec<PyNote> {
        let notes = self.shared().up().take_notes();
        let notes = notes.into_iter();
        notes
            .map(|note| {
                let heard = note.heard;
                let heard = heard.map(|(session, from)| (session.id, py_endpoint(&from)));
                (note.lane, heard, note.length, note.is_data, note.at)
            })
            .collect()
    }

    fn take_unsent<'py>(&self, py: Python<'py>) -> Vec<(LaneId, PyBatch<'py>, f64)> {
        let unsent = self.shared().up().take_unsent();
        let unsent = unsent.iter();
        unsent
            .map(|(lane, packets, at)| (*lane, batch(py, packets), *at))
            .collect()
    }

    /// Return packets, whether they come in, and since when they wait to be judged.
    fn take_unjudged<'py>(
        &self,
        py: Python<'py>,
        most: usize,
    ) -> Vec<(Bound<'py, PyBytes>, bool, f64)> {
        let taken = self.shared().up().take_unjudged(most);
        let taken = taken.iter();
        taken
            .map(|(packet, way, at)| (PyBytes::new(py, packet), *way == Direction::Inbound, *at))
            .collect()
    }

    fn take_exceptions<'py>(
        &self,
        py: Python<'py>,
        most: usize,
    ) -> Vec<(PyBatch<'py>, PyEndpoint)> {
        let taken = self.shared().up().take_exceptions(most);
        let taken = taken.iter();
        taken
            .map(|(datagrams, from)| (batch(py, datagrams), py_endpoint(from)))
            .collect()
    }

    fn take_echoes<'py>(&self, py: Python<'py>) -> PyBatch<'py> {
        let echoes = std::mem::take(&mut self.shared().up().echoes);
        echoes.iter().map(|each| PyBytes::new(py, each)).collect()
    }

    /// Return what has happened to descriptors and threads: what it was, an endpoint, and
    /// what was said of it.
    fn take_troubles(&self) -> Vec<(&'static str, Option<PyEndpoint>, String)> {
        let troubles = std::mem::take(&mut self.shared().up().troubles);
        let troubles = troubles.into_iter();
        troubles
            .map(|trouble| match trouble {
                Trouble::TunGone => ("tun-gone", None, String::new()),
                Trouble::Unpinned(to) => ("unpinned", Some(py_endpoint(&to)), String::new()),
                Trouble::Panic(why) => ("panic", None, why),
            })
            .collect()
    }

    /// Return how much was dropped, by reason.
    fn drops(&self) -> Vec<(&'static str, u64)> {
        self.shared().drops.list()
    }

    /// Return how many datagrams and packets made room in the queues to the owner.
    fn overflows(&self) -> u64 {
        self.shared().up().overflows
    }
}

// Threads of its own.
#[pymethods]
impl Core {
    fn start(&self, tun: i32, has_header: bool, threads: usize) -> PyResult<()> {
        self.shared().up().joins_notes = true;
        let shared = self.datapath.shared.clone();
        let carrier = Carrier::start(shared, tun, has_header, threads)?;
        *self.carrier() = Some(carrier);
        Ok(())
    }

    fn stop(&self, py: Python<'_>) {
        let carrier = self.carrier().take();
        if let Some(carrier) = carrier {
            // No thread needs Python to end.
            py.detach(|| carrier.stop());
        }
    }

    fn add_socket(&self, descriptor: i32, link: i64, is_ipv4: bool) -> PyResult<()> {
        if let Some(carrier) = &*self.carrier() {
            carrier.add_socket(descriptor, link, is_ipv4)?;
        }
        Ok(())
    }

    fn remove_link(&self, link: i64) {
        if let Some(carrier) = &*self.carrier() {
            carrier.remove_link(link);
        }
    }

    fn refuse(&self, interface: u32) {
        if let Some(carrier) = &*self.carrier() {
            carrier.refuse(interface);
        }
    }

    fn pause(&self, is_paused: bool) {
        if let Some(carrier) = &*self.carrier() {
            carrier.pause(is_paused);
        }
    }

    /// Return whether threads carried packets in crowds lately.
    fn is_crowded(&self) -> bool {
        self.carrier().as_ref().is_some_and(Carrier::is_crowded)
    }

    /// Let a thread panic, to see what becomes of it.
    fn fail(&self) {
        if let Some(carrier) = &*self.carrier() {
            carrier.fail();
        }
    }

    /// Return how many packets the kernel did not take, and how many were malformed.
    fn counts(&self) -> (u64, u64) {
        self.carrier().as_ref().map_or((0, 0), Carrier::counts)
    }

    /// Return how many datagrams were lost since the last call, by number of the error.
    fn take_errors(&self) -> HashMap<i32, u64> {
        let carrier = self.carrier();
        let carrier = carrier.as_ref();
        carrier.map_or_else(HashMap::new, |carrier| carrier.sockets().take_errors())
    }
}

fn direction(is_inbound: bool) -> Direction {
    if is_inbound {
        Direction::Inbound
    } else {
        Direction::Outbound
    }
}

fn host(text: &str) -> PyResult<IpAddr> {
    text.parse()
        .map_err(|_| PyValueError::new_err("An address is numeric"))
}

fn source((text, interface): PySource) -> PyResult<Source> {
    Ok(Source {
        host: host(&text)?,
        interface,
    })
}

fn endpoint((text, port, link, from): PyEndpoint) -> PyResult<Endpoint> {
    let from = from.map(source).transpose()?;
    Endpoint::parse(&text, port, link, from)
        .ok_or_else(|| PyValueError::new_err("An endpoint has a numeric address"))
}

fn py_endpoint(endpoint: &Endpoint) -> PyEndpoint {
    let source = endpoint.source;
    let source = source.map(|source| (host_text(&source.host), source.interface));
    (endpoint.host_text(), endpoint.port, endpoint.link, source)
}

fn batch<'py>(py: Python<'py>, parts: &[Vec<u8>]) -> PyBatch<'py> {
    parts.iter().map(|part| PyBytes::new(py, part)).collect()
}

/// Return what a function returns, and its panic as an error.
fn guarded<T>(function: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(function))
        .map_err(|panic| PyRuntimeError::new_err(said(panic.as_ref())))
}

/// Return the key of a packet's exact flow, `None` if it has none.
#[pyfunction]
fn flow_key<'py>(py: Python<'py>, packet: &[u8]) -> Option<Bound<'py, PyBytes>> {
    FlowKey::of(packet).map(|key| PyBytes::new(py, key.as_bytes()))
}

/// The compiled data path of meshwg.
#[pymodule]
fn meshwg_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Whoever uses this says what is to be said of a panic.
    std::panic::set_hook(Box::new(|_| ()));
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(flow_key, module)?)?;
    module.add_class::<CoreSession>()?;
    module.add_class::<Core>()
}
