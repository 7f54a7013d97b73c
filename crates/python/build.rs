//! The linker's arguments for an extension module: on macOS its Python symbols are found when it is loaded.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
