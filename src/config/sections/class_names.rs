//! Names of classes: reads them before anything refers to one, and resolves references. A pool, a subnet, a machine and
//! a class may name any class of the file, also a later one.

use std::sync::Arc;

use crate::config::sections::written::ClassEntry;
use crate::config::syntax::reader::{Reader, one_or_more, suggestion};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::classes::{Class, ClassRef, Condition, evaluation_order};

/// Reads `name` of each entry of `dhcp.classes`, and makes the names known to the reader.
pub(in crate::config) fn class_names(reader: &mut Reader, entries: &[&Node]) {
    for (place, entry) in entries.iter().enumerate() {
        let Data::Map(fields) = &entry.data else { continue };
        let is_name = |key: &Node| matches!(&key.data, Data::Text(text) if text == "name");
        let Some((_, node)) = fields.iter().find(|(key, _)| is_name(key)) else { continue };
        let Some(name) = reader.text(node, "the name of the class") else { continue };
        if ClassRef::BUILT_IN.iter().any(|(built_in, _)| *built_in == name) {
            reader.problem(node.id, format!("`{name}` is the name of a built-in class: choose another one"));
        } else if let Some((_, first)) = reader.class_names.get(name).copied() {
            reader.conflict(node.id, first, format!("another class has the name `{name}` already"));
        } else {
            reader.class_names.insert(name.to_owned(), (place, node.id));
        }
    }
}

/// The name of the class at `place`, if it has a valid one.
pub(in crate::config) fn name_of(reader: &Reader, place: usize) -> Option<Arc<str>> {
    let mut names = reader.class_names.iter();
    names.find(|(_, (other, _))| *other == place).map(|(name, _)| name.as_str().into())
}

/// Reads one name of a class or a list of them. Built-in names are allowed.
pub(in crate::config) fn class_refs(reader: &mut Reader, node: &Node) -> Vec<ClassRef> {
    let items = one_or_more(node);
    if items.is_empty() {
        reader.expected(node, "the name of a class, or a list of them");
    }
    items.iter().filter_map(|item| class_ref(reader, item)).collect()
}

fn class_ref(reader: &mut Reader, node: &Node) -> Option<ClassRef> {
    let name = reader.text(node, "the name of a class")?;
    let built_in = ClassRef::BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
    let listed = || reader.class_names.get(name).map(|(place, _)| ClassRef::Listed(*place));
    let found = built_in.map(|(_, class)| *class).or_else(listed);
    if found.is_none() {
        let names = reader.class_names.keys().map(String::as_str);
        let all = names.chain(ClassRef::BUILT_IN.iter().map(|(name, _)| *name));
        let hint = suggestion(name, all).unwrap_or_else(|| {
            let names: Vec<&str> = ClassRef::BUILT_IN.iter().map(|(name, _)| *name).collect();
            format!("; classes are the names in `dhcp.classes`, and {}", names.join(", "))
        });
        reader.problem(node.id, format!("unknown class `{name}`{hint}"));
    }
    found
}

/// Reads the classes that a machine is put into. Built-in classes follow from what the client is.
pub(in crate::config) fn listed_classes(reader: &mut Reader, node: &Node) -> Vec<usize> {
    let found: Vec<(u32, ClassRef)> =
        one_or_more(node).iter().filter_map(|item| Some((item.id, class_ref(reader, item)?))).collect();
    let mut places = Vec::new();
    for (id, class) in found {
        match class {
            ClassRef::Listed(place) => places.push(place),
            _ => reader.problem(
                id,
                "expected a class of `dhcp.classes`: no machine can be put into a built-in class",
            ),
        }
    }
    if one_or_more(node).is_empty() {
        reader.expected(node, "the name of a class, or a list of them");
    }
    places
}

/// Reports classes whose conditions depend on themselves.
pub(in crate::config) fn check_cycles(reader: &mut Reader, entries: &[ClassEntry]) {
    let classes: Vec<Class> = entries.iter().map(|entry| entry.class.clone()).collect();
    let (_, cyclic) = evaluation_order(&classes);
    let next = |place: usize| {
        let mut names = Vec::new();
        let conditions = classes.get(place).into_iter().flat_map(|class| class.alternatives.iter().flatten());
        conditions.for_each(|condition: &Condition| condition.depends_on(&mut names));
        names.into_iter().find(|name| cyclic.contains(name))
    };
    // Each of these classes depends on a class in a cycle, so following the names leads into one.
    let Some(mut place) = cyclic.first().copied() else { return };
    let mut path = vec![place];
    while let Some(following) = next(place) {
        if let Some(start) = path.iter().position(|other| *other == following) {
            let cycle = path.get(start..).unwrap_or_default();
            let name =
                |place: &usize| classes.get(*place).and_then(|class| class.name.as_deref()).unwrap_or("?");
            let names: Vec<&str> = cycle.iter().chain([&following]).map(name).collect();
            let id = entries.get(following).map_or(0, |entry| entry.match_id);
            let message =
                format!("the class `{}` depends on itself: {}", name(&following), names.join(" → "));
            return reader.problem(id, message);
        }
        path.push(following);
        place = following;
    }
}
