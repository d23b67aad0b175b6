package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode reads the JSON form of a Job as it travels between the tiers. Unlike
// Parse it knows no short forms, passes over fields that it does not know,
// since the peer may be newer, and checks nothing but the types.
func Decode(data []byte) (*Job, error) {
	var j Job
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("decode job: %w", err)
	}
	return &j, nil
}

// readJSON reads one JSON value.
func readJSON(src string) (*node, *Problem) {
	r := &jsonReader{src: src, dec: json.NewDecoder(strings.NewReader(src)), at: pos{1, 1}}
	r.dec.UseNumber()
	n, err := r.value(1)
	if err == nil {
		p := r.next()
		if _, end := r.dec.Token(); end != io.EOF {
			err = jsonError{p.problem("", "this is not JSON: something follows after the end of the job")}
		}
	}
	if err != nil {
		return nil, r.problem(err)
	}
	return n, nil
}

// jsonReader makes a tree of a decoder's tokens, and keeps count of where it is.
type jsonReader struct {
	src    string
	dec    *json.Decoder
	offset int // in bytes; at is the same in lines and characters
	at     pos
	budget budget
}

// jsonError carries a Problem out of the recursion.
type jsonError struct{ Problem }

func (e jsonError) Error() string { return e.Message }

func (r *jsonReader) problem(err error) *Problem {
	var (
		own    jsonError
		syntax *json.SyntaxError
	)
	if errors.As(err, &own) {
		return &own.Problem
	}
	offset := int(r.dec.InputOffset())
	if errors.As(err, &syntax) {
		offset = max(offset, int(syntax.Offset)-1)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		offset, err = len(r.src), errors.New("it ends too early")
	}
	p := r.advance(offset).problem("", "this is not JSON: %v", err)
	return &p
}

// advance moves to an offset that is not before the current one.
func (r *jsonReader) advance(offset int) pos {
	for _, c := range r.src[r.offset:max(r.offset, min(offset, len(r.src)))] {
		r.at.column++
		if c == '\n' {
			r.at = pos{r.at.line + 1, 1}
		}
	}
	r.offset = max(r.offset, min(offset, len(r.src)))
	return r.at
}

// next is the position of the next token.
func (r *jsonReader) next() pos {
	offset := int(r.dec.InputOffset())
	for offset < len(r.src) && strings.IndexByte(" \t\r\n,:", r.src[offset]) >= 0 {
		offset++
	}
	return r.advance(offset)
}

func (r *jsonReader) value(depth int) (*node, error) {
	n := &node{pos: r.next()}
	if p := r.budget.take(n.pos, depth); p != nil {
		return nil, jsonError{*p}
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, fmt.Sprint(t)
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if t == '[' {
			n.kind = list
			err = r.list(n, depth)
		} else {
			n.kind = mapping
			err = r.mapping(n, depth)
		}
	}
	return n, err
}

func (r *jsonReader) list(n *node, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) mapping(n *node, depth int) error {
	for r.dec.More() {
		e := entry{pos: r.next()}
		key, err := r.dec.Token()
		if err != nil {
			return err
		}
		e.key, _ = key.(string) // the decoder lets nothing else be a key
		if e.value, err = r.value(depth + 1); err != nil {
			return err
		}
		n.entries = append(n.entries, e)
	}
	_, err := r.dec.Token()
	return err
}
