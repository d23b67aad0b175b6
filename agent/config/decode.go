package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decode puts what the file says on top of c. It goes on after an error, so
// that all are found.
func decode(c *Config, source string, data []byte) (err error) {
	d := decoder{err: Error{Source: source}}
	// The parser is a library's; an odd file must not end the agent in a panic.
	defer func() {
		if r := recover(); r != nil {
			err = &Error{Source: source, Problems: []Problem{{Line: 1, Column: 1, Message: "this is not readable as YAML"}}}
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := Problem{Line: 1, Column: 1, Message: "this is not YAML"}
		if se, ok := err.(*yaml.SyntaxError); ok && se.Token != nil {
			p = Problem{Line: se.Token.Position.Line, Column: se.Token.Position.Column, Message: "this is not YAML: " + se.Message}
		}
		return &Error{Source: source, Problems: []Problem{p}}
	}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.bad(doc.Body, "", "want one document only")
			break
		}
		d.value(doc.Body, reflect.ValueOf(c).Elem(), "")
	}
	return d.err.orNil()
}

type decoder struct{ err Error }

func (d *decoder) bad(n ast.Node, field, format string, args ...any) {
	p := Problem{Field: field, Message: fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	d.err.Problems = append(d.err.Problems, p)
}

func (d *decoder) value(n ast.Node, v reflect.Value, field string) {
	switch n.(type) {
	case *ast.NullNode, *ast.CommentGroupNode:
		return // "key:" alone leaves the default
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.bad(n, field, "anchors, aliases and tags are not supported: write the value out")
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		d.fields(n, v, field)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, field)
	case v.Kind() == reflect.Slice:
		d.list(n, v, field)
	default:
		s, ok := scalar(n)
		if !ok {
			d.bad(n, field, "want %s", kindName(v))
			return
		}
		if err := setScalar(v, s); err != nil {
			d.bad(n, field, "%s", err)
		}
	}
}

func (d *decoder) fields(n ast.Node, v reflect.Value, field string) {
	known := fieldNames(v.Type())
	d.each(n, field, func(key string, kv *ast.MappingValueNode, path string) {
		i := slices.Index(known, key)
		if i < 0 {
			d.bad(kv.Key, path, "unknown; known here: %s", strings.Join(known, ", "))
			return
		}
		d.value(kv.Value, v.Field(i), path)
	})
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, field string) {
	m := reflect.MakeMap(v.Type())
	d.each(n, field, func(key string, kv *ast.MappingValueNode, path string) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(kv.Value, e, path)
		m.SetMapIndex(reflect.ValueOf(key), e)
	})
	v.Set(m)
}

func (d *decoder) list(n ast.Node, v reflect.Value, field string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(n, field, "want a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, e := range seq.Values {
		d.value(e, out.Index(i), fmt.Sprintf("%s[%d]", field, i))
	}
	v.Set(out)
}

// each calls f for the entries of a mapping.
func (d *decoder) each(n ast.Node, field string, f func(key string, kv *ast.MappingValueNode, path string)) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		d.bad(n, field, "want a mapping")
		return
	}
	seen := map[string]bool{}
	for _, kv := range entries {
		key, ok := scalar(kv.Key)
		path := key
		if field != "" {
			path = field + "." + key
		}
		switch {
		case !ok:
			d.bad(kv.Key, field, "want a plain key")
		case seen[key]:
			d.bad(kv.Key, path, "given twice")
		default:
			seen[key] = true
			f(key, kv, path)
		}
	}
}

// scalar returns the text of a plain value as it is written.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

var durationType = reflect.TypeFor[time.Duration]()

// setScalar sets v from text.
func setScalar(v reflect.Value, s string) error {
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q: want a duration such as 15s or 1m30s", s)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Int64:
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q: want a whole number", s)
		}
		v.SetInt(i)
	case v.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f != f {
			return fmt.Errorf("%q: want a number", s)
		}
		v.SetFloat(f)
	case v.Kind() == reflect.Bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("%q: want true or false", s)
		}
		v.SetBool(s == "true")
	default:
		panic("config: no way to set a " + v.Type().String())
	}
	return nil
}

func kindName(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 15s"
	case v.Kind() == reflect.Int64:
		return "a whole number"
	case v.Kind() == reflect.Float64:
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text"
}

// envPrefix begins the names of all variables.
const envPrefix = "EDGEAGENT_"

// flagOnly are variables that belong to flags of the command line.
var flagOnly = []string{envPrefix + "CONFIG", envPrefix + "TOKEN", envPrefix + "JOIN"}

// applyEnv puts what the environment says on top of c.
func applyEnv(c *Config, environ []string) error {
	d := decoder{err: Error{Source: "environment"}}
	targets := map[string]reflect.Value{}
	envTargets(reflect.ValueOf(c).Elem(), envPrefix, targets)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(flagOnly, name) {
			continue
		}
		v, ok := targets[name]
		if !ok {
			d.err.Problems = append(d.err.Problems, Problem{Field: name, Message: "there is no such setting"})
			continue
		}
		if err := setText(v, value); err != nil {
			d.err.Problems = append(d.err.Problems, Problem{Field: name, Message: err.Error()})
		}
	}
	return d.err.orNil()
}

// envTargets collects the settings that a variable can set: all but mappings
// of more than texts.
func envTargets(v reflect.Value, prefix string, out map[string]reflect.Value) {
	for i, name := range fieldNames(v.Type()) {
		f, name := v.Field(i), prefix+strings.ToUpper(name)
		switch {
		case f.Kind() == reflect.Struct:
			envTargets(f, name+"_", out)
		case f.Kind() == reflect.Map && f.Type().Elem().Kind() != reflect.String:
		default:
			out[name] = f
		}
	}
}

func setText(v reflect.Value, s string) error {
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.ValueOf(SplitList(s)))
	case reflect.Map:
		m, err := ParseLabels(SplitList(s))
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(m))
	default:
		return setScalar(v, s)
	}
	return nil
}

// SplitList splits a,b,c and leaves out what is empty.
func SplitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// ParseLabels reads entries of the form key=value.
func ParseLabels(entries []string) (map[string]string, error) {
	m := map[string]string{}
	for _, e := range entries {
		k, v, ok := strings.Cut(e, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%q: want key=value", e)
		}
		m[k] = v
	}
	return m, nil
}
