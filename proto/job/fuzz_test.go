package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// examples are all job files that the tests know, good and bad.
func examples(tb testing.TB) [][]byte {
	var all [][]byte
	for _, pattern := range []string{"testdata/*.*", "testdata/problems/*.yaml", "testdata/problems/*.json", "../../packaging/samples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			tb.Fatalf("no files %s: %v", pattern, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, data)
		}
	}
	return all
}

// FuzzParse holds that Parse never panics, ends soon, blames places that the
// file has, and that what it accepts stays what it is on its way through the
// tiers.
func FuzzParse(f *testing.F) {
	for _, data := range examples(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		j, err := Parse(data)
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("took %v", took)
		}
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		j.Normalize()
		if err := j.Validate(); err != nil {
			t.Fatalf("not valid after Normalize: %v", err)
		}
		again := roundTrip(t, j)
		if diff := cmp.Diff(j, again); diff != "" {
			t.Fatalf("JSON round trip (-before +after):\n%s", diff)
		}
		if err := again.Validate(); err != nil {
			t.Fatalf("not valid after a round trip: %v", err)
		}
		again.Normalize()
		if diff := cmp.Diff(j, again); diff != "" {
			t.Fatalf("Normalize is not idempotent (-once +twice):\n%s", diff)
		}
	})
}

func checkProblems(t *testing.T, data []byte, err error) {
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		t.Fatalf("the error is %T %v, want an InvalidError with problems", err, err)
	}
	lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 2
	last := pos{}
	for _, p := range invalid.Problems {
		if p.Message == "" || p.Line < 1 || p.Line > lines || p.Column < 1 {
			t.Fatalf("problem %+v in a file of %d lines", p, lines)
		}
		if p.Line < last.line || p.Line == last.line && p.Column < last.column {
			t.Fatalf("problems are not in order: %v", invalid)
		}
		last = pos{p.Line, p.Column}
	}
}

func roundTrip(t *testing.T, j *Job) *Job {
	t.Helper()
	data, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func FuzzDecode(f *testing.F) {
	for _, data := range examples(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := Decode(data)
		if err != nil {
			return
		}
		j.Normalize()
		if j.Validate() == nil {
			if diff := cmp.Diff(j, roundTrip(t, j)); diff != "" {
				t.Fatalf("JSON round trip (-before +after):\n%s", diff)
			}
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a b", `sh -c 'a "b"'`, `"\"" \`, "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := words(s)
		if err != nil {
			return
		}
		total := 0
		for _, w := range list {
			total += len(w)
		}
		if total > len(s) {
			t.Fatalf("words(%q) = %q: longer than the line", s, list)
		}
	})
}
