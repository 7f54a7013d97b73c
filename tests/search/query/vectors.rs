//! Seeds from files of vectors: every layout that has a meaning, and the refusal of all others.

use super::{MUSIC, hits};

#[test]
fn vectors_are_seeds_of_the_size_of_the_hidden_states() {
    let vector = MUSIC.path("vector.json");
    std::fs::write(&vector, "[1.0, 2.0]").unwrap();
    let refusal = MUSIC.refusal("query", &["--vector", vector.to_str().unwrap()]);
    assert!(refusal.contains("those of the hidden states 1, 2, found 2"), "{refusal}");
    let refusal = MUSIC.refusal("query", &["--vector", vector.to_str().unwrap(), "--layers", "2"]);
    assert!(refusal.contains("of the one that --layers names"), "{refusal}");
}

/// A `.npy` file of version 1.
fn npy(kind: &str, shape: &str, is_fortran: bool, data: &[u8]) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn vectors_are_read_from_floats_of_any_layout_and_nothing_else() {
    let dim = 64;
    let value = |index: usize| ((index * 37 % 101) as f32 - 50.0) / 64.0;
    let values: Vec<f32> = (0..2 * dim).map(value).collect();
    let bytes = |each: &dyn Fn(f32) -> Vec<u8>| -> Vec<u8> { values.iter().flat_map(|&value| each(value)).collect() };
    let path = MUSIC.path("seed.npy");
    let name = path.to_str().unwrap();
    let found = |file: Vec<u8>| {
        std::fs::write(&path, file).unwrap();
        hits(&MUSIC.json("query", &["--vector", name]))
    };
    let little = bytes(&|value| value.to_le_bytes().to_vec());
    let expected = found(npy("<f4", "(128,)", false, &little));
    assert_eq!(expected.len(), 10);
    for (kind, shape, is_fortran, data) in [
        ("<f4", "(1, 128)", false, little.clone()),
        ("<f4", "(128, 1)", false, little.clone()),
        ("<f4", "(1, 128)", true, little.clone()),
        (">f4", "(128,)", false, bytes(&|value| value.to_be_bytes().to_vec())),
        ("<f8", "(128,)", false, bytes(&|value| f64::from(value).to_le_bytes().to_vec())),
        (">f8", "(128,)", false, bytes(&|value| f64::from(value).to_be_bytes().to_vec())),
        // The values are fractions of 64, which half a float has exactly.
        ("<f2", "(128,)", false, bytes(&|value| half::f16::from_f32(value).to_le_bytes().to_vec())),
        (">f2", "(128,)", false, bytes(&|value| half::f16::from_f32(value).to_be_bytes().to_vec())),
    ] {
        assert_eq!(found(npy(kind, shape, is_fortran, &data)), expected, "{kind} {shape}");
    }
    // Two segments, by rows and by columns.
    let two: Vec<f32> = values.iter().chain(values.iter().rev().collect::<Vec<_>>()).copied().collect();
    let rows: Vec<u8> = two.iter().flat_map(|value| value.to_le_bytes()).collect();
    let columns: Vec<u8> =
        (0..128).flat_map(|column| [two[column], two[128 + column]]).flat_map(f32::to_le_bytes).collect();
    assert_eq!(found(npy("<f4", "(2, 128)", false, &rows)), found(npy("<f4", "(2, 128)", true, &columns)));

    let with = |index: usize, value: f32| {
        let mut values = values.clone();
        values[index] = value;
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
    };
    let half_zero: Vec<u8> =
        values.iter().enumerate().flat_map(|(i, v)| if i < 64 { 0f32 } else { *v }.to_le_bytes()).collect();
    for (kind, shape, data, reason) in [
        ("|i1", "(128,)", vec![1; 128], "expected f16, f32 or f64, found |i1: integers are codes"),
        ("<i8", "(128,)", vec![1; 1024], "expected f16, f32 or f64, found <i8"),
        ("<c8", "(128,)", vec![1; 1024], "expected f16, f32 or f64, found <c8"),
        ("<f4", "(1, 1, 128)", little.clone(), "expected the shape"),
        ("<f4", "()", little[..4].to_vec(), "expected the shape"),
        ("<f4", "(0, 128)", Vec::new(), "no values"),
        ("<f4", "(128,)", little[..500].to_vec(), "does not fit"),
        ("<f4", "(99999999999, 99999999999)", little.clone(), "does not fit"),
        ("<f4", "(128,)", vec![0; 512], "has no direction"),
        ("<f4", "(128,)", half_zero, "the vector of hidden state 1 is zero"),
        ("<f4", "(128,)", with(5, f32::NAN), "found NaN at index 5"),
        ("<f4", "(128,)", with(7, f32::INFINITY), "found inf at index 7"),
    ] {
        std::fs::write(&path, npy(kind, shape, false, &data)).unwrap();
        let refusal = MUSIC.refusal("query", &["--vector", name]);
        assert!(refusal.contains(reason) && refusal.contains("seed.npy"), "{kind} {shape}: {refusal}");
    }
    let whole = npy("<f4", "(128,)", false, &little);
    for (bytes, reason) in [
        (&whole[..whole.len() - 4], "the file may be cut"),
        (&whole[..100], "header of the .npy file is cut or damaged"),
        (&whole[..7], "header of the .npy file is cut or damaged"),
        (b"1.0 2.0", "expected a .npy file, or JSON"),
        (b"", "expected a .npy file, or JSON"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let refusal = MUSIC.refusal("query", &["--vector", name]);
        assert!(refusal.contains(reason) && refusal.contains("seed.npy"), "{reason}: {refusal}");
    }
    let json = MUSIC.path("seed.json");
    for (text, reason) in [
        ("[]", "expected 128 values"),
        ("[[]]", "expected 128 values"),
        ("[1e300]", "expected"),
        ("{}", "a list of numbers"),
        ("[[1.0, 2.0], 3.0]", "a list of such lists"),
        ("[1.0, 2.0", "the JSON ends too early"),
        ("[[1.0, 2.0], [3.0", "the JSON ends too early"),
        ("", "the JSON ends too early"),
    ] {
        std::fs::write(&json, text).unwrap();
        let refusal = MUSIC.refusal("query", &["--vector", json.to_str().unwrap()]);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }
}
