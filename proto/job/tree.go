package job

import (
	"fmt"
	"regexp"
	"slices"
)

// kind is what a piece of a file is, before anybody asks what it should be.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

// node is a piece of a file. YAML and JSON both are read into it, so that
// there is one place that knows the fields.
type node struct {
	pos
	kind    kind
	text    string // scalars: as written, without quotes
	items   []*node
	entries []entry
}

type entry struct {
	pos   // of the key
	key   string
	value *node
}

type pos struct{ line, column int }

func (p pos) problem(field, format string, args ...any) Problem {
	return Problem{Line: p.line, Column: p.column, Field: field, Message: fmt.Sprintf(format, args...)}
}

// String says what n is, for messages.
func (n *node) String() string {
	switch n.kind {
	case null:
		return "nothing"
	case boolean:
		return n.text
	case number:
		return "the number " + clip(n.text)
	case text:
		return "the text " + quote(n.text)
	case list:
		return "a list"
	default:
		return "a mapping"
	}
}

func (n *node) scalar() bool { return n.kind == boolean || n.kind == number || n.kind == text }

// numeric is how a plain YAML scalar looks that is a number in YAML 1.2, or
// that people take for one: of the latter (octal, hexadecimal, not finite, with
// underscores) none is accepted where a number is wanted, since readers differ
// in what they mean.
var numeric = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^0[xob][0-9A-Fa-f_]+$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$`)

// plainKind is the kind of an unquoted YAML scalar: the core schema of YAML 1.2,
// in which "no" is a text and not false.
func plainKind(s string) kind {
	switch {
	case slices.Contains([]string{"", "~", "null", "Null", "NULL"}, s):
		return null
	case slices.Contains([]string{"true", "True", "TRUE", "false", "False", "FALSE"}, s):
		return boolean
	case numeric.MatchString(s):
		return number
	default:
		return text
	}
}

var (
	tooMany = fmt.Sprintf("too many elements: want at most %d values, lists and mappings in all", maxElements)
	tooDeep = fmt.Sprintf("too deeply nested: want at most %d levels", maxDepth)
)

// budget bounds what is built of a file.
type budget struct{ elements int }

func (b *budget) take(p pos, depth int) *Problem {
	b.elements++
	var problem Problem
	switch {
	case b.elements > maxElements:
		problem = p.problem("", "%s", tooMany)
	case depth > maxDepth:
		problem = p.problem("", "%s", tooDeep)
	default:
		return nil
	}
	return &problem
}
