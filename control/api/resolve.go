package api

import (
	"fmt"
	"strings"
)

// Resolve finds what a user means by ref among items: the one with this id,
// else the one with this name, else the one whose id begins with it. With
// several of that name, the one that prefer reports true for, if it is one
// (nil: none is preferred). The error is of class ErrNotFound, or ErrConflict
// if ref is ambiguous; noun ("job") is for its text.
func Resolve[T any](noun, ref string, items []T, key func(T) (id, name string), prefer func(T) bool) (T, error) {
	var zero T
	var named, preferred, prefixed []T
	for _, it := range items {
		id, name := key(it)
		switch {
		case id == ref:
			return it, nil
		case name == ref:
			named = append(named, it)
			if prefer != nil && prefer(it) {
				preferred = append(preferred, it)
			}
		case ref != "" && strings.HasPrefix(id, ref):
			prefixed = append(prefixed, it)
		}
	}
	for _, found := range [][]T{preferred, named, prefixed} {
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return zero, fmt.Errorf("%w: %d %ss match %q: %s; use the id", ErrConflict, len(found), noun, ref, ids(found, key))
		}
	}
	return zero, fmt.Errorf("%w: no %s has the id or name %q", ErrNotFound, noun, ref)
}

// ids lists the first few ids of items.
func ids[T any](items []T, key func(T) (id, name string)) string {
	const most = 5
	var b strings.Builder
	for i, it := range items {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		id, _ := key(it)
		b.WriteString(id)
	}
	return b.String()
}
