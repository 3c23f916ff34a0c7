//! Attacks what handles bytes that others chose: `cargo run --release --example fuzz`.
//!
//! `--seconds N` says for how long each target is attacked (10), `--seed N` with which
//! numbers (1), `--target NAME` which one alone. What is wrong panics, with the number
//! of the case.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshwg_core::channel;
use meshwg_core::coalesce::{Coalescer, Offloads};
use meshwg_core::constants::{DATA_HEADER_LENGTH, TAG_LENGTH};
use meshwg_core::datapath::Datapath;
use meshwg_core::endpoint::Endpoint;
use meshwg_core::flows::{Direction, FlowKey, Flows};
use meshwg_core::packet::{folded, put_word, stated_length, word_sum, TCP, UDP};
use meshwg_core::random::Random;
use meshwg_core::segment::Segments;
use meshwg_core::session::{Session, SessionTerms};
use meshwg_core::shared::Shared;
use meshwg_core::toobig::{fragments, too_big};
use meshwg_core::vnet;

type Target = (&'static str, fn(&mut Random));

const TARGETS: [Target; 8] = [
    ("open", open),
    ("seal", seal),
    ("segment", segment),
    ("coalesce", coalesce),
    ("both", both),
    ("relay", relay),
    ("flow", flow),
    ("toobig", toobig),
];

fn main() {
    let number = |name: &str, usual: u64| {
        option(name).map_or(usual, |text| text.parse().expect("a number is needed"))
    };
    let (seconds, seed) = (number("--seconds", 10), number("--seed", 1));
    let only = option("--target");
    for (name, target) in TARGETS {
        if only.as_deref().is_none_or(|only| only == name) {
            let cases = attack(target, Duration::from_secs(seconds), seed);
            println!("{name}: {cases} cases in {seconds} s without a finding");
        }
    }
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|each| each != name).nth(1)
}

/// Run a target again and again, and return how often.
fn attack(target: fn(&mut Random), duration: Duration, seed: u64) -> u64 {
    let (begin, mut case) = (Instant::now(), 0);
    while begin.elapsed() < duration {
        let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(case));
        let result = std::panic::catch_unwind(move || target(&mut random));
        assert!(result.is_ok(), "case {case} of seed {seed}");
        case += 1;
    }
    case
}

fn session(mirrored: bool) -> Arc<Session> {
    let (mut keys, mut indices) = (([1; 32], [2; 32]), (1, 2));
    if mirrored {
        keys = (keys.1, keys.0);
        indices = (indices.1, indices.0);
    }
    let terms = SessionTerms {
        id: 1,
        local_index: indices.0,
        remote_index: indices.1,
        usable_until: 180.0,
        expires_at: 180.0,
    };
    Arc::new(Session::new(&keys.0, &keys.1, terms))
}

fn datapath(random: &mut Random) -> (Datapath, Arc<Session>) {
    let path = Datapath::new(Arc::new(Shared::new(1420, true).expect("there is room")));
    let far = session(true);
    let peer = Endpoint::parse("192.0.2.1", 1, 0, None);
    let mut table = path.shared.table_to_change();
    table.is_up = true;
    let id = table.add_lane();
    table.add_session(id, session(false));
    table.networks.insert([10, 0, 0, 0].into(), 8, id);
    table
        .networks
        .insert([0xfd00, 0, 0, 0, 0, 0, 0, 0].into(), 8, id);
    let lane = table.lanes.get_mut(&id).expect("it was added");
    lane.session = Some(session(false));
    lane.endpoint = peer;
    lane.longest = *pick(random, &[65535, 1280, 600, 60]);
    let relayed = Endpoint::parse("192.0.2.9", 9, 1 << 16, None).expect("it is numeric");
    let relay = Endpoint::parse("192.0.2.7", 7, 0, None).expect("it is numeric");
    table.set_channel(relayed, relay, Some(0x4001));
    drop(table);
    (path, far)
}

fn pick<'a, T>(random: &mut Random, choices: &'a [T]) -> &'a T {
    &choices[random.below(choices.len() as u64) as usize]
}

/// Return something like an IP packet.
fn packet(random: &mut Random, most: u64) -> Vec<u8> {
    let length = random.below(most) as usize;
    let mut packet = random.bytes(length);
    if length >= 44 {
        packet[0] = *pick(random, &[0x45, 0x45, 0x60, 0x46, 0x00]);
        let is_ipv6 = packet[0] == 0x60;
        packet[if is_ipv6 { 6 } else { 9 }] = *pick(random, &[TCP, UDP, 1, 58]);
        let (field, stated) = if is_ipv6 {
            (4, length - 40)
        } else {
            (2, length)
        };
        put_word(&mut packet, field, stated as u16);
        for start in if is_ipv6 { [8, 24] } else { [12, 16] } {
            packet[start] = if is_ipv6 { 0xfd } else { 10 };
        }
        if random.one_in(4) {
            let place = random.below(44) as usize;
            packet[place] = random.number() as u8;
        }
    }
    packet
}

/// Whatever arrives, nothing comes out but whole packets of authentic messages.
fn open(random: &mut Random) {
    let (path, far) = datapath(random);
    let mut sealed = 0;
    let mut datagrams = Vec::new();
    for _ in 0..random.below(8) {
        let mut message = vec![0; DATA_HEADER_LENGTH];
        message.extend(packet(random, 200));
        message.extend([0; TAG_LENGTH]);
        far.seal(&mut message);
        sealed += 1;
        match random.below(6) {
            0 => message.truncate(random.below(message.len() as u64 + 1) as usize),
            1 => {
                let place = random.below(message.len() as u64) as usize;
                message[place] ^= 1 << random.below(8);
            }
            2 => message = random.bytes(message.len()),
            3 => {
                let length = message.len() as u16;
                let header = [0x40, 1, (length >> 8) as u8, length as u8];
                message.splice(0..0, header);
            }
            _ => (),
        }
        datagrams.push(message);
    }
    let from = *pick(random, &["192.0.2.1", "192.0.2.7"]);
    let from = Endpoint::parse(from, 7, 0, None).expect("it is numeric");
    path.receive_datagrams(datagrams.iter().map(|each| &each[..]), from, 1.0);
    let packets = path.packets_to_write();
    assert!(packets.len() <= sealed);
    for each in packets {
        assert_eq!(stated_length(&each), each.len());
    }
}

/// Whatever the interface sends, the peer can open what comes of it, each once.
fn seal(random: &mut Random) {
    let (path, far) = datapath(random);
    let packets: Vec<_> = (0..random.below(20))
        .map(|_| packet(random, 2000))
        .collect();
    let packets: Vec<_> = packets.iter().map(|each| &each[..]).collect();
    path.receive_packets(&packets, 1.0);
    for (_, messages) in path.datagrams_to_send() {
        for mut message in messages {
            far.open(&mut message).expect("it is authentic and new");
        }
    }
    path.packets_to_write();
}

/// Whatever a superpacket says of itself, all its payload is there once, or nothing is.
fn segment(random: &mut Random) {
    let packet = packet(random, 9000);
    let header = vnet::Header {
        flags: random.below(2) as u8,
        gso_type: *pick(random, &[0, 1, 4, 5, 0x81, 7]),
        header_length: random.number() as u16,
        gso_size: *pick(random, &[0, 1, 100, 1400, 65535]),
        checksum_start: *pick(random, &[20, 40, 24, 0, 65535]),
        checksum_offset: *pick(random, &[16, 6, 0, 65535]),
    };
    let Some(segments) = Segments::of(&header, &packet) else {
        return;
    };
    let headers = segments.headers().len();
    let mut carried = 0;
    for index in 0..segments.count {
        let mut out = vec![0; segments.length(index)];
        segments.write(index, &mut out);
        carried += out.len() - headers;
    }
    assert_eq!(headers + carried, packet.len());
}

/// Whatever packets there are, what they hold is written once.
fn coalesce(random: &mut Random) {
    let mut buffer = Vec::new();
    let mut coalescer = Coalescer::new(Offloads {
        has_header: true,
        tcp: random.one_in(2),
        udp: random.one_in(2),
    });
    let mut count = 0;
    let mut last = Vec::new();
    for _ in 0..random.below(12) {
        let next = if random.one_in(2) {
            packet(random, 300)
        } else {
            std::mem::take(&mut last)
        };
        let start = buffer.len();
        buffer.extend(&next);
        coalescer.add(&buffer, start..buffer.len());
        last = next;
        count += 1;
    }
    let mut written = 0;
    coalescer.flush(&buffer, |parts, packets| {
        assert!(parts.len() <= 1024);
        written += packets;
    });
    assert_eq!(written, count);
}

/// Whatever superpacket there is, its packets can be joined again, and hold the same.
fn both(random: &mut Random) {
    let size = 1 + random.below(1400) as usize;
    let payload = 1 + random.below(20_000) as usize;
    let is_ipv6 = random.one_in(2);
    let (start, end) = if is_ipv6 { (40, 60) } else { (20, 40) };
    let mut packet = random.bytes(end + payload);
    packet[0] = if is_ipv6 { 0x60 } else { 0x45 };
    packet[if is_ipv6 { 6 } else { 9 }] = TCP;
    packet[start + 12] = 0x50;
    if !is_ipv6 {
        put_word(&mut packet, 6, 0x4000);
    }
    let header = vnet::Header {
        flags: vnet::NEEDS_CSUM,
        gso_type: if is_ipv6 {
            vnet::GSO_TCPV6
        } else {
            vnet::GSO_TCPV4
        },
        header_length: 0,
        gso_size: size as u16,
        checksum_start: start as u16,
        checksum_offset: 16,
    };
    let segments = Segments::of(&header, &packet).expect("nothing contradicts itself");
    let mut buffer = Vec::new();
    let mut coalescer = Coalescer::new(Offloads {
        has_header: true,
        tcp: true,
        udp: true,
    });
    for index in 0..segments.count {
        let from = buffer.len();
        buffer.resize(from + segments.length(index), 0);
        segments.write(index, &mut buffer[from..]);
        coalescer.add(&buffer, from..buffer.len());
    }
    let mut written = Vec::new();
    coalescer.flush(&buffer, |parts, _| {
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        written.extend_from_slice(&whole[vnet::LENGTH + end..]);
    });
    assert!(written == packet[end..], "the payload is the same");
}

/// Whatever comes from a relay, only what was sealed for us comes out, and once.
fn relay(random: &mut Random) {
    let (path, far) = datapath(random);
    let mut inner = packet(random, 200);
    inner.splice(0..0, [0; DATA_HEADER_LENGTH]);
    inner.extend([0; TAG_LENGTH]);
    far.seal(&mut inner);
    let mut wrapped = vec![0; channel::HEADER_LENGTH];
    wrapped.extend(inner);
    let number = *pick(random, &[0x4001, 0x4001, 0x4002, 0x3fff, 0x8000]);
    channel::write_header(&mut wrapped, number);
    match random.below(4) {
        0 => {
            let place = random.below(wrapped.len() as u64) as usize;
            wrapped[place] = random.number() as u8;
        }
        1 => wrapped.truncate(random.below(wrapped.len() as u64 + 1) as usize),
        2 => {
            let length = random.below(7) as usize;
            wrapped.extend(random.bytes(length));
        }
        _ => (),
    }
    let from = Endpoint::parse("192.0.2.7", 7, 0, None).expect("it is numeric");
    path.receive_datagrams([&wrapped[..], &wrapped[..]], from, 1.0);
    assert!(path.packets_to_write().len() <= 1);
}

/// Whatever packet there is, its flow has one key, which is written as it is read.
fn flow(random: &mut Random) {
    let packet = packet(random, 120);
    let mut flows = Flows::default();
    assert!(!flows.pass(&packet, Direction::Inbound, 1.0));
    let Some(key) = FlowKey::of(&packet) else {
        return;
    };
    assert_eq!(FlowKey::from_bytes(key.as_bytes()), Some(key));
    flows.set(key, Direction::Inbound, Some(2.0));
    assert!(flows.pass(&packet, Direction::Inbound, 1.0));
    assert!(!flows.pass(&packet, Direction::Outbound, 1.0));
}

/// Whatever is too long, its fragments hold all of it, and answers are sound.
fn toobig(random: &mut Random) {
    let packet = packet(random, 3000);
    let longest = *pick(random, &[0, 19, 28, 60, 576, 1280, 1400]);
    if let Some(parts) = fragments(&packet, longest) {
        let stated = stated_length(&packet);
        let carried: usize = parts.iter().map(|part| part.len() - 20).sum();
        assert_eq!(carried + 20, stated);
        for part in parts {
            assert!(part.len() <= longest);
            assert_eq!(stated_length(&part), part.len());
            assert_eq!(folded(word_sum(&part[..20])), 0xffff);
        }
    }
    if let Some(answer) = too_big(&packet, longest) {
        assert!(answer.len() <= 1280);
        assert_eq!(stated_length(&answer), answer.len());
    }
}
