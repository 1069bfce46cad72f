//! Graphs as text that other programs draw.

use std::collections::HashMap;

/// A box.
pub(super) struct Shape {
    pub(super) id: String,
    pub(super) label: String,
    /// A second line, if there is one.
    pub(super) detail: String,
}

/// From one box to another.
pub(super) struct Arrow {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) label: String,
}

/// Boxes and arrows.
pub(super) struct Drawing {
    pub(super) shapes: Vec<Shape>,
    pub(super) arrows: Vec<Arrow>,
}

impl Drawing {
    /// For Graphviz.
    pub(super) fn dot(&self) -> String {
        let mut text = "digraph {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for shape in &self.shapes {
            let mut label = quoted(&shape.label);
            if !shape.detail.is_empty() {
                label = format!("{label}\\n{}", quoted(&shape.detail));
            }
            text.push_str(&format!(
                "  \"{}\" [label=\"{label}\"];\n",
                quoted(&shape.id)
            ));
        }
        for arrow in &self.arrows {
            let label = if arrow.label.is_empty() {
                String::new()
            } else {
                format!(" [label=\"{}\"]", quoted(&arrow.label))
            };
            let (source, target) = (quoted(&arrow.source), quoted(&arrow.target));
            text.push_str(&format!("  \"{source}\" -> \"{target}\"{label};\n"));
        }
        text + "}\n"
    }

    /// For Mermaid, whose ids are words.
    pub(super) fn mermaid(&self) -> String {
        let mut text = "graph LR\n".to_owned();
        let mut names: HashMap<&str, String> = HashMap::new();
        for (number, shape) in self.shapes.iter().enumerate() {
            let name = format!("n{number}");
            let mut label = escaped(&shape.label);
            if !shape.detail.is_empty() {
                label = format!("{label}<br/>{}", escaped(&shape.detail));
            }
            text.push_str(&format!("  {name}[\"{label}\"]\n"));
            names.insert(&shape.id, name);
        }
        for arrow in &self.arrows {
            let ends = (names.get(&*arrow.source), names.get(&*arrow.target));
            let (Some(source), Some(target)) = ends else {
                continue;
            };
            let label = if arrow.label.is_empty() {
                String::new()
            } else {
                format!("|{}|", escaped(&arrow.label))
            };
            text.push_str(&format!("  {source} -->{label} {target}\n"));
        }
        text
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', " ")
}

fn escaped(text: &str) -> String {
    text.replace('"', "#quot;").replace(['\n', '|'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing() -> Drawing {
        let shape = |id: &str, label: &str, detail: &str| Shape {
            id: id.to_owned(),
            label: label.to_owned(),
            detail: detail.to_owned(),
        };
        Drawing {
            shapes: vec![shape("1", "a \"b\"", "x:1"), shape("2", "c", "")],
            arrows: vec![Arrow {
                source: "1".to_owned(),
                target: "2".to_owned(),
                label: "3".to_owned(),
            }],
        }
    }

    #[test]
    fn both_forms_are_drawn() {
        assert_eq!(
            drawing().dot(),
            "digraph {\n  rankdir=LR;\n  node [shape=box];\n  \"1\" [label=\"a \\\"b\\\"\\nx:1\"];\n  \
             \"2\" [label=\"c\"];\n  \"1\" -> \"2\" [label=\"3\"];\n}\n"
        );
        assert_eq!(
            drawing().mermaid(),
            "graph LR\n  n0[\"a #quot;b#quot;<br/>x:1\"]\n  n1[\"c\"]\n  n0 -->|3| n1\n"
        );
    }
}
