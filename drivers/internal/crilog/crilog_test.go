package crilog

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 5000, time.UTC)

func TestAppend(t *testing.T) {
	const stamp = "2026-11-23T12:00:00.000005000Z stdout "
	for data, want := range map[string]string{
		"":            "",
		"one\n":       stamp + "F one\n",
		"one":         stamp + "P one\n",
		"\n":          stamp + "F \n",
		"one\r\ntwo ": stamp + "F one\r\n" + stamp + "P two \n",
	} {
		if got := string(Append(nil, noon, "stdout", []byte(data))); got != want {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	}
}

// join is what a reader makes of a log.
func join(t interface{ Fatalf(string, ...any) }, log []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(log) {
		r, err := Parse(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			t.Fatalf("Parse %q: %v", line, err)
		}
		b.Write(r.Content)
		if !r.Partial {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestAppendParseExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.SampledFrom([]byte{'a', ' ', '\n', '\r', 0, 0xff})).Draw(t, "data")
		if got := join(t, Append(nil, noon, "stderr", data)); got != string(data) {
			t.Fatalf("%q came back as %q", data, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"2026-11-23T12:00:00.000005000Z stdout F text", "2026-11-23T12:00:00Z stderr P ", "2026-11-23T12:00:00+02:00 stdout P:x  two",
		"", " ", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z stdlog F x", "2026-11-23T12:00:00Z stdout X x", "\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Parse(line)
		if err != nil || bytes.Contains(line, []byte{'\n'}) {
			return
		}
		text := r.Content
		if !r.Partial {
			text = append(bytes.Clone(text), '\n')
		}
		if len(text) == 0 {
			return
		}
		if got := join(t, Append(nil, r.Time, r.Stream, text)); got != string(text) {
			t.Errorf("%q came back as %q", text, got)
		}
	})
}

func TestWriterRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := Open(path, 1000, 3)
	var all strings.Builder
	for i := range 100 {
		line := strings.Repeat("x", i) + "\n"
		all.WriteString(line)
		w.Write(noon, "stdout", []byte(line))
	}
	w.Close()
	if lost, err := w.Lost(); lost != 0 {
		t.Errorf("lost %d: %v", lost, err)
	}
	var kept strings.Builder
	for i := 2; i >= 0; i-- {
		b, err := os.ReadFile(Name(path, i))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || len(b) > 1000 {
			t.Errorf("file %d has %d bytes, want up to 1000", i, len(b))
		}
		kept.WriteString(join(t, b))
	}
	if !strings.HasSuffix(all.String(), kept.String()) {
		t.Errorf("what is kept is not the end of what was written: %q", kept.String())
	}
	if _, err := os.Stat(Name(path, 3)); !os.IsNotExist(err) {
		t.Errorf("a fourth file: %v", err)
	}
}

func TestWriterMendsTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("2026-11-23T12:00:00Z stdout F whole\n2026-11-2"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := Open(path, 1000, 3)
	w.Write(noon, "stdout", []byte("next\n"))
	w.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3: %q", len(lines), b)
	}
	if r, err := Parse(lines[2]); err != nil || string(r.Content) != "next" {
		t.Errorf("after a torn line: %+v, %v", r, err)
	}
}

// TestWriterDiskFull fills a small file system: output is lost and counted,
// and goes on when there is room.
func TestWriterDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small file system: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 56<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	w := Open(filepath.Join(dir, "log"), 1<<20, 3)
	defer w.Close()
	for range 100 {
		w.Write(noon, "stdout", []byte(strings.Repeat("x", 200)+"\n"))
	}
	if lost, err := w.Lost(); lost == 0 || err == nil {
		t.Fatalf("lost %d: %v", lost, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.Write(noon, "stdout", []byte("room again\n"))
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
	if r, err := Parse(lines[len(lines)-1]); err != nil || string(r.Content) != "room again" {
		t.Errorf("last line %+v, %v", r, err)
	}
}
