package job

import (
	"errors"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// readYAML reads one YAML document. What YAML can do beyond plain values is
// refused: a job file has no use for it, and it is how small files grow large.
func readYAML(src string) (root *node, problem *Problem) {
	// The parser is a library's, and the input a stranger's.
	defer func() {
		if r := recover(); r != nil {
			root, problem = nil, &Problem{Line: 1, Column: 1, Message: "this is not readable as YAML"}
		}
	}()
	tokens, problem := tokenize(src)
	if problem != nil {
		return nil, problem
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := Problem{Line: 1, Column: 1, Message: "this is not YAML"}
		if se := (*yaml.SyntaxError)(nil); errors.As(err, &se) {
			p = position(se.Token).problem("", "this is not YAML: %s", se.Message)
		}
		return nil, &p
	}
	return document(file)
}

// refused are the constructs that have no place in a job file.
var refused = map[token.Type]string{
	token.AnchorType:     `anchors ("&name") are not supported: write the value out; a text that begins with & belongs in quotes`,
	token.AliasType:      `aliases ("*name") are not supported: write the value out; a text that begins with * belongs in quotes`,
	token.MergeKeyType:   `merge keys ("<<") are not supported: write the fields out`,
	token.TagType:        `tags ("!name") are not supported; a text that begins with ! belongs in quotes`,
	token.DirectiveType:  `directives ("%NAME") are not supported`,
	token.MappingKeyType: `complex keys ("? ") are not supported: write "key: value"; a text that begins with ? belongs in quotes`,
}

// tokenize bounds what the parser is given, since the parser recurses, and
// takes time that grows with the square of the number of keys. It stops at the
// first token too many, so that a hostile file costs no memory either.
func tokenize(src string) (token.Tokens, *Problem) {
	var (
		s      scanner.Scanner
		g      guard
		tokens token.Tokens
	)
	s.Init(src)
	for {
		some, err := s.Scan()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		// Any other error is a token, too, which the parser explains.
		for _, t := range some {
			if wrong := g.see(t); wrong != "" {
				p := position(t).problem("", "%s", wrong)
				return nil, &p
			}
		}
		tokens.Add(some...)
	}
}

// guard counts what it sees of a file.
type guard struct {
	tokens int
	open   int // brackets and braces
	run    int // levels opened in line without any: "- - - x"
	line   int
}

// see returns what is wrong about having t next, or nothing.
func (g *guard) see(t *token.Token) string {
	if g.tokens++; g.tokens > maxTokens {
		return tooMany
	}
	if line := position(t).line; line != g.line {
		g.run, g.line = 0, line
	}
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		g.open++
	case token.SequenceEndType, token.MappingEndType:
		g.open--
		g.run = 0
	case token.CollectEntryType:
		g.run = 0
	case token.SequenceEntryType, token.MappingValueType:
		g.run++
	}
	if g.open > maxDepth || g.run > maxDepth {
		return tooDeep
	}
	return refused[t.Type]
}

func position(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// document returns the one document of file; nil if there is nothing in it.
func document(file *ast.File) (*node, *Problem) {
	var (
		root *node
		b    budget
	)
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		n, p := convert(d.Body, &b, 1)
		if p == nil && root != nil {
			second := n.problem("", "a second document begins here: want one job per file")
			p = &second
		}
		if p != nil {
			return nil, p
		}
		root = n
	}
	return root, nil
}

func convert(y ast.Node, b *budget, depth int) (*node, *Problem) {
	n := &node{pos: position(y.GetToken())}
	if p := b.take(n.pos, depth); p != nil {
		return nil, p
	}
	switch y := y.(type) {
	case *ast.MappingNode:
		return n, convertMapping(n, y.Values, b, depth)
	case *ast.MappingValueNode:
		return n, convertMapping(n, []*ast.MappingValueNode{y}, b, depth)
	case *ast.SequenceNode:
		n.kind = list
		for _, v := range y.Values {
			item, p := convert(v, b, depth+1)
			if p != nil {
				return nil, p
			}
			n.items = append(n.items, item)
		}
	case *ast.LiteralNode:
		n.kind, n.text = text, y.Value.Value
	case *ast.StringNode:
		n.kind, n.text = text, y.Value
		if y.Token.Type != token.SingleQuoteType && y.Token.Type != token.DoubleQuoteType {
			n.kind = plainKind(y.Value)
		}
	case *ast.NullNode:
		n.kind = null
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.text = y.GetToken().Value
		n.kind = plainKind(n.text)
	default:
		p := n.problem("", "this is not supported here: want plain values, lists and mappings")
		return nil, &p
	}
	return n, nil
}

func convertMapping(n *node, values []*ast.MappingValueNode, b *budget, depth int) *Problem {
	n.kind = mapping
	for i, v := range values {
		e := entry{pos: position(v.Key.GetToken()), key: v.Key.GetToken().Value}
		if i == 0 {
			n.pos = e.pos // the parser says the first colon, or the brace
		}
		var p *Problem
		if e.value, p = convert(v.Value, b, depth+1); p != nil {
			return p
		}
		n.entries = append(n.entries, e)
	}
	return nil
}
