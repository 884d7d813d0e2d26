//! The functions of the workspace by their names, for documents that say which test shows what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Each function of the workspace by its name, from the comment above it to the next one: a test, a scenario, or a property.
///
/// # Errors
///
/// When a file cannot be read.
pub fn functions() -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut functions = BTreeMap::new();
    for folder in
        ["hopmq-proto", "hopmq", "hopmq-tokio", "hopmq-smol", "hopmq-sim", "hopmq-blocking", "tests"]
    {
        for file in rust_files(&workspace().join(folder))? {
            functions_of(&fs::read_to_string(&file)?, &mut functions);
        }
    }
    Ok(functions)
}

/// A document of the workspace.
///
/// # Errors
///
/// When it cannot be read.
pub fn document(path: &str) -> io::Result<String> {
    fs::read_to_string(workspace().join(path))
}

/// Each file of Rust in a folder of the workspace: its path from the crate's folder, and its text.
///
/// # Errors
///
/// When one cannot be read.
pub fn texts(folder: &str) -> io::Result<Vec<(String, String)>> {
    let folder = workspace().join(folder);
    let mut texts = Vec::new();
    for file in rust_files(&folder)? {
        let path = file.strip_prefix(folder.parent().unwrap_or(&folder)).unwrap_or(&file);
        texts.push((path.to_string_lossy().into_owned(), fs::read_to_string(&file)?));
    }
    Ok(texts)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn functions_of(source: &str, functions: &mut BTreeMap<String, Vec<String>>) {
    let mut above = String::new();
    let mut current = None;
    for line in source.lines() {
        let text = line.trim_start();
        if text.starts_with("//") || text.starts_with("#[") {
            above.push_str(line);
            continue;
        }
        let signature = text.strip_prefix("pub ").unwrap_or(text);
        let signature = signature.strip_prefix("async ").unwrap_or(signature);
        if let Some(named) = signature.strip_prefix("fn ") {
            let name = named.split(['(', '<']).next().unwrap_or_default().to_owned();
            functions.entry(name.clone()).or_default().push(String::new());
            current = Some(name);
        }
        if let Some(text) = current.as_ref().and_then(|it| functions.get_mut(it)).and_then(|it| it.last_mut())
        {
            text.push_str(&above);
            text.push_str(line);
        }
        above.clear();
    }
}
