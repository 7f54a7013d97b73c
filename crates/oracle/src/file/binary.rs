//! The binary form, little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `MERTORCL` |
//! | 4 | the version |
//! | 4 + h | the length h of the header, and the header as JSON: digests, match, feature names, sources |
//! | 1 | 0 symbols, 1 vectors, 2 events |
//! | 4 | the number n of events |
//! | | n × u32; or the number d of values (u32) and n × d × f64; or n events, see `binary_events` |
//! | 4n | `sfx` of states 1 to n |
//! | 4n | `lrs` of states 1 to n |
//! | 4 + 8m | the number m of arrows that do not lead to the next state, and these as pairs of states, ascending |
//! | 4 | the CRC-32 (IEEE) of all bytes before it |

use super::arrays::Arrays;
use super::binary_events::{read_event, write_event};
use super::json::parse;
use super::reader::Reader;
use super::{Content, Header, Material, OracleFile, VERSION};
use crate::{OracleError, Result};

/// The first bytes of the binary form.
pub const MAGIC: &[u8; 8] = b"MERTORCL";

/// The bytes of the checksum.
const CHECKSUM: usize = 4;

pub(super) fn write(file: &OracleFile) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(&Header::of(file)).map_err(|error| OracleError::Write(error.into()))?;
    let mut output = MAGIC.to_vec();
    let number = |output: &mut Vec<u8>, value: u32| output.extend(value.to_le_bytes());
    number(&mut output, VERSION);
    number(&mut output, header.len() as u32);
    output.extend(header);
    let material = file.material();
    output.push(match material {
        Material::Symbols(_) => 0,
        Material::Vectors(_) => 1,
        Material::Events(_) => 2,
    });
    number(&mut output, material.len() as u32);
    match material {
        Material::Symbols(symbols) => symbols.iter().for_each(|symbol| number(&mut output, *symbol)),
        Material::Vectors(vectors) => {
            number(&mut output, vectors.first().map_or(0, Vec::len) as u32);
            vectors.iter().flatten().for_each(|value| output.extend(value.to_le_bytes()));
        }
        Material::Events(events) => events.iter().for_each(|event| write_event(&mut output, event)),
    }
    let links = file.links();
    let states = || 1..links.states();
    states().filter_map(|state| links.sfx(state)).for_each(|link| number(&mut output, link));
    states().for_each(|state| number(&mut output, links.lrs(state)));
    number(&mut output, (links.arrows() - links.events() as usize) as u32);
    for state in 0..links.states() {
        for target in links.trn(state).skip(1) {
            number(&mut output, state);
            number(&mut output, target);
        }
    }
    let checksum = crc32fast::hash(&output);
    number(&mut output, checksum);
    Ok(output)
}

pub(super) fn read(bytes: &[u8]) -> Result<Content> {
    let mut reader = Reader::new(bytes, MAGIC.len());
    let version = reader.number("version")?;
    if version != VERSION {
        let expected = format!("{VERSION}; use the mert-tokens that wrote the file, or build the oracle again");
        return Err(OracleError::field("version", expected, version));
    }
    let end = bytes.len().checked_sub(CHECKSUM).filter(|end| *end >= reader.at());
    let Some((content, checksum)) = end.and_then(|end| bytes.split_at_checked(end)) else {
        return Err(OracleError::Truncated { field: "checksum", offset: reader.at() });
    };
    let found = crc32fast::hash(content);
    let mut last = Reader::new(checksum, 0);
    let expected = last.number("checksum")?;
    if found != expected {
        return Err(OracleError::Checksum { expected, found });
    }
    reader.limit(content);
    let length = reader.number("header")? as usize;
    let header: Header = parse(reader.take("header", length)?)?;
    let kind = reader.byte("material")?;
    let events = reader.number("material")? as usize;
    let material = match kind {
        0 => Material::Symbols(reader.numbers("symbols", events)?),
        1 => Material::Vectors(read_vectors(&mut reader, events)?),
        2 => {
            // An event is far longer than a byte: the list cannot be longer than the file.
            let mut list = Vec::new();
            for _ in 0..events {
                list.push(read_event(&mut reader)?);
            }
            Material::Events(list)
        }
        _ => return Err(OracleError::field("material", "0 (symbols), 1 (vectors) or 2 (events)", kind)),
    };
    let links = reader.numbers("sfx", events)?;
    let lengths = reader.numbers("lrs", events)?;
    let arrows = reader.number("trn")? as usize;
    let pairs = reader.numbers("trn", arrows.saturating_mul(2))?;
    if reader.at() != content.len() {
        let expected = format!("{} bytes before the checksum", reader.at());
        return Err(OracleError::field("length", expected, content.len()));
    }
    let mut trn: Vec<Vec<u32>> = (0..=events as u32).map(|state| vec![state + 1]).collect();
    trn[events].clear();
    for (pair, before) in pairs.chunks_exact(2).zip(std::iter::once(None).chain(pairs.chunks_exact(2).map(Some))) {
        let Some(state) = trn.get_mut(pair[0] as usize).filter(|_| before.is_none_or(|before| before < pair)) else {
            let expected = format!("pairs of states in ascending order, below {events}");
            return Err(OracleError::field("trn", expected, format!("({}, {})", pair[0], pair[1])));
        };
        state.push(pair[1]);
    }
    let sfx = std::iter::once(None).chain(links.into_iter().map(Some)).collect();
    let lrs = std::iter::once(0).chain(lengths).collect();
    Ok(Content { header, material, arrays: Arrays { sfx, lrs, trn } })
}

fn read_vectors(reader: &mut Reader, events: usize) -> Result<Vec<Vec<f64>>> {
    let dim = reader.number("vectors")? as usize;
    if dim == 0 {
        return Err(OracleError::field("vectors", "at least one value in a vector", 0));
    }
    let mut vectors = Vec::new();
    for _ in 0..events {
        let row = reader.take("vectors", dim.saturating_mul(8))?;
        vectors.push(row.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect());
    }
    Ok(vectors)
}
