//! References: the `.npz` files that Python writes, as `mert-verify` reads them.

use mert_testkit::fuzz::Seed;
use mert_verify::Reference;

use super::fuzz_file;

#[test]
fn npz() {
    fuzz_file("npz", vec![Seed::fixture("containers/reference.npz")], None, |path| match Reference::read(&path) {
        Err(error) if error.to_string().trim().is_empty() => Err("an error without a message".into()),
        _ => Ok(()),
    });
}
