//! Tests of the operations on int32, and of lookups.

use super::{Value, check, float, int, ints, run, values};

/// The int32 values and extents of a result.
fn whole(value: &Value) -> (Vec<i32>, Vec<usize>) {
    match value {
        Value::Ints(values, dims) => (values.clone(), dims.clone()),
        other => panic!("{} is not int32", other.type_of()),
    }
}

#[test]
fn shape_and_range() {
    let shape = run("shape", &[("x", &float(&[1, 5, 7], 1))]).unwrap();
    assert_eq!(whole(&shape), (vec![1, 5, 7], vec![3]));
    let count = run("gather", &[("x", &shape), ("indices", &int(1)), ("axis", &int(0))]).unwrap();
    assert_eq!(whole(&count), (vec![5], vec![]));
    let range = |start: i32, end: &Value, step: i32| {
        run("range_1d", &[("start", &int(start)), ("end", end), ("step", &int(step))])
    };
    assert_eq!(whole(&range(0, &count, 1).unwrap()), (vec![0, 1, 2, 3, 4], vec![5]));
    assert_eq!(whole(&range(-1, &int(4), 2).unwrap()), (vec![-1, 1, 3], vec![3]));
    for (start, end, step, word) in [
        (0, 5, 0, "not positive"),
        (0, 5, -1, "not positive"),
        (5, 5, 1, "empty"),
        (5, 0, 1, "empty"),
        (i32::MIN, i32::MAX, 1, "does not fit in memory"),
    ] {
        let error = range(start, &int(end), step).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn differences_of_a_row_and_a_column() {
    let (row, column) = (ints(&[5, 6, 7, 8]), ints(&[0, 1, 2]));
    let row = run("expand_dims", &[("x", &row), ("axes", &ints(&[0]))]).unwrap();
    let column = run("expand_dims", &[("x", &column), ("axes", &ints(&[-1]))]).unwrap();
    assert_eq!((row.dims(), column.dims()), (&[1, 4][..], &[3, 1][..]));
    let difference = run("sub", &[("x", &row), ("y", &column)]).unwrap();
    assert_eq!(whole(&difference), (vec![5, 6, 7, 8, 4, 5, 6, 7, 3, 4, 5, 6], vec![3, 4]));
    let sum = run("add", &[("x", &int(3)), ("y", &ints(&[1, -9]))]).unwrap();
    assert_eq!(whole(&sum), (vec![4, -6], vec![2]));
    let product = run("mul", &[("x", &ints(&[2, 3])), ("y", &ints(&[7, -5]))]).unwrap();
    assert_eq!(whole(&product), (vec![14, -15], vec![2]));
    assert!(run("add", &[("x", &int(i32::MAX)), ("y", &int(1))]).unwrap_err().contains("exceeds int32"));
    assert!(run("add", &[("x", &ints(&[1, 2])), ("y", &ints(&[1, 2, 3]))]).unwrap_err().contains("broadcast"));
    // Of two types.
    assert!(run("add", &[("x", &int(1)), ("y", &float(&[1], 1))]).unwrap_err().contains("expected int32"));
    assert!(run("sub", &[("x", &float(&[1], 1)), ("y", &int(1))]).unwrap_err().contains("fp16"));
    assert!(run("expand_dims", &[("x", &int(1)), ("axes", &ints(&[0, 0]))]).unwrap_err().contains("twice"));
    // A result that does not fit in memory.
    let long = Value::Ints(vec![0; 70_000], vec![70_000, 1]);
    let other = Value::Ints(vec![0; 70_000], vec![70_000]);
    assert!(run("sub", &[("x", &long), ("y", &other)]).unwrap_err().contains("does not fit in memory"));
}

#[test]
fn gather_replaces_an_axis_by_those_of_the_indices() {
    let x = float(&[2, 5, 3], 1);
    let xs = values(&x);
    let flat = |i: usize, j: usize, k: usize| xs[(i * 5 + j) * 3 + k];
    let places = [[0, 4, 2, 2], [1, 3, 0, 4]];
    let indices = Value::Ints(places.concat(), vec![2, 4]);
    let operands = [("x", &x), ("indices", &indices), ("axis", &int(1))];
    check("gather", &operands, &[2, 2, 4, 3], |at| flat(at[0], places[at[1]][at[2]] as usize, at[3]));
    let last = ints(&[2, 0]);
    check("gather", &[("x", &x), ("indices", &last), ("axis", &int(-1))], &[2, 5, 2], |at| {
        flat(at[0], at[1], [2, 0][at[2]])
    });
    check("gather", &[("x", &x), ("indices", &int(1))], &[5, 3], |at| flat(1, at[0], at[1]));
    for (axis, index, word) in [(1, 5, "index 5 is outside of the 5"), (1, -1, "index -1"), (3, 0, "does not exist")] {
        let error = run("gather", &[("x", &x), ("indices", &ints(&[index])), ("axis", &int(axis))]).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    assert!(run("gather", &[("x", &x), ("indices", &float(&[2], 1))]).unwrap_err().contains("expected int32"));
    let error = run("gather", &[("x", &x), ("indices", &last), ("batch_dims", &int(1))]).unwrap_err();
    assert!(error.contains("batch_dims"), "{error}");
    let large = Value::Ints(vec![0; 1 << 16], vec![1 << 8, 1 << 8]);
    let wide = float(&[1, 1 << 16], 1);
    let error = run("gather", &[("x", &wide), ("indices", &large), ("axis", &int(0))]).unwrap_err();
    assert!(error.contains("does not fit in memory"), "{error}");
}
