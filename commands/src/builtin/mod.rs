//! The commands every Wend node knows: their types, documentation and access. What they do is the node's part.

pub mod blackhole;
pub mod genome;
pub mod mesh;
pub mod node;

use crate::describe::Description;

/// What the built-in commands are, by name. `docs/commands.md` is made from this.
pub fn describe() -> Vec<Description> {
    let mut all = vec![
        Description::of::<genome::Catalog>(),
        Description::of::<genome::CatalogSync>(),
        Description::of::<genome::Manifest>(),
        Description::of::<genome::Publish>(),
        Description::of::<genome::Search>(),
        Description::of::<genome::Show>(),
        Description::of::<genome::Sync>(),
        Description::of::<mesh::Execute>(),
        Description::of::<mesh::Ping>(),
        Description::of::<blackhole::Add>(),
        Description::of::<blackhole::List>(),
        Description::of::<blackhole::Remove>(),
        Description::of::<node::Announce>(),
        Description::of::<node::Info>(),
        Description::of::<node::Paths>(),
        Description::of::<node::Ping>(),
        Description::of::<node::Resolve>(),
        Description::of::<node::Status>(),
    ];
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::access::Access;
    use crate::describe::{Field, to_markdown};

    #[test]
    fn every_command_and_field_is_documented() {
        fn check(of: &str, fields: &[Field]) {
            for field in fields {
                assert!(field.doc.ends_with('.'), "{of}, {}: `{}` is no sentence", field.name, field.doc);
                check(of, field.kind.fields());
            }
        }
        for command in describe() {
            assert!(
                command.doc.ends_with('.') && command.summary().len() <= 90,
                "{}: {}",
                command.name,
                command.summary()
            );
            check(command.name.as_str(), command.parameters);
            check(command.name.as_str(), command.reply);
        }
    }

    #[test]
    fn exactly_these_can_ever_be_opened_to_others() {
        let open: Vec<_> = describe().into_iter().filter(|known| known.access != Access::Local).collect();
        let names: Vec<_> = open.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(names, ["genome/manifest", "genome/search", "genome/sync", "node/info", "node/ping"]);
    }

    #[test]
    fn no_name_is_used_twice() {
        let all = describe();
        let names: BTreeSet<_> = all.iter().map(|known| known.name.clone()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
        let page = format!(
            "# Commands\n\nMade from the declarations in `commands/src/builtin/`; `UPDATE_DOCS=1 cargo test -p \
             wend-commands` writes it anew. `wend exec` runs any of them; bytes are written as hexadecimal digits there \
             and in JSON.\n{}",
            to_markdown(&describe())
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(current == page, "docs/commands.md is stale: run UPDATE_DOCS=1 cargo test -p wend-commands");
    }
}
