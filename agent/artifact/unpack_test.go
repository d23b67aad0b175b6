package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/drivers"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// entry is a tar entry with its content.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

func special(kind byte, name, link string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o777}}
}

func symlink(name, to string) entry  { return special(tar.TypeSymlink, name, to) }
func hardlink(name, to string) entry { return special(tar.TypeLink, name, to) }

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// zipOf makes the same from tar entries, as far as zip can say it.
func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate}
		h.SetMode(e.FileInfo().Mode())
		content := e.content
		if e.Typeflag == tar.TypeSymlink {
			content = e.Linkname
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeArchive(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnpack(t *testing.T) {
	program := file("app/bin/run", "#!")
	program.Mode = 0o4755
	data := file("./app/data", "old")
	data.Mode = 0o666
	entries := []entry{
		special(tar.TypeDir, "app/", ""), program, data, file("app/data", "new"),
		symlink("app/current", "bin/../data"), symlink("dangling", "nowhere"),
	}
	want := []string{
		"app drwxr-xr-x", "app/bin drwxr-xr-x", "app/bin/run -rwxr-xr-x #!",
		"app/current Lrwxrwxrwx bin/../data", "app/data -rw-r--r-- new", "dangling Lrwxrwxrwx nowhere",
	}
	for name, content := range map[string][]byte{
		"tar": tarOf(t, entries...), "tar.gz": gzipped(t, tarOf(t, entries...)),
		"tar.zst": zstdOf(t, tarOf(t, entries...)), "zip": zipOf(t, entries...),
	} {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "no-telling-name")
			writeArchive(t, archive, content)
			c := open(t, Config{})
			path, err := c.Fetch(t.Context(), drivers.Image{Reference: archive, SHA256: digestOf(content)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, list(t, path)); diff != "" {
				t.Errorf("unpacked (-want +got):\n%s", diff)
			}
			wantClean(t, c)
		})
	}
}

func list(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		line := rel + " " + info.Mode().String()
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + to
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUnpackRefuses(t *testing.T) {
	bomb := strings.Repeat("\x00", 65<<20)
	many := make([]entry, 120)
	for i := range many {
		many[i] = file(strings.Repeat("x", i+1), "")
	}
	deep := strings.Repeat("/d", 60)
	tests := map[string]struct {
		content []byte
		text    string
	}{
		"parent":            {tarOf(t, file("../evil", "")), ".."},
		"hidden parent":     {tarOf(t, file("a/../../evil", "")), ".."},
		"absolute":          {tarOf(t, file("/tmp/evil", "")), "absolute"},
		"backslash":         {zipOf(t, file(`..\evil`, "")), "name"},
		"zip parent":        {zipOf(t, file("../evil", "")), ".."},
		"absolute link":     {tarOf(t, symlink("l", "/etc")), "absolute"},
		"link to parent":    {tarOf(t, symlink("a/l", "../../etc")), "out of"},
		"zip link":          {zipOf(t, symlink("l", "../etc")), "out of"},
		"write through":     {tarOf(t, symlink("l", "/tmp"), file("l/evil", "")), "absolute"},
		"links together":    {tarOf(t, special(tar.TypeDir, "a/b", ""), symlink("a/b/s", "../.."), symlink("a/l", "b/s/../x")), "out of"},
		"circle":            {tarOf(t, symlink("a", "b"), symlink("b", "a")), "circle"},
		"hard link":         {tarOf(t, hardlink("l", "../../etc/passwd")), ".."},
		"hard link abs":     {tarOf(t, hardlink("l", "/etc/passwd")), "absolute"},
		"hard link to link": {tarOf(t, file("f", ""), symlink("s", "f"), hardlink("l", "s")), "not a file"},
		"device":            {tarOf(t, special(tar.TypeBlock, "d", "")), "device"},
		"pipe":              {tarOf(t, special(tar.TypeFifo, "p", "")), "pipe"},
		"root replaced":     {tarOf(t, file(".", "")), "root"},
		"file as folder":    {tarOf(t, file("a", ""), file("a/b", "")), "file exists"},
		"many entries":      {tarOf(t, many...), "100 entries"},
		"unlisted folders":  {tarOf(t, file("a"+deep, ""), file("b"+deep, "")), "100 entries"},
		"bomb":              {gzipped(t, tarOf(t, file("zeroes", bomb))), "bomb"},
		"zip bomb":          {zipOf(t, file("zeroes", bomb)), "bomb"},
		"too big":           {tarOf(t, file("zeroes", bomb), file("more", bomb[:6<<20])), "bytes"},
		"cut off":           {tarOf(t, file("a", strings.Repeat("x", 5000)))[:2000], "EOF"},
		"cut off gzip":      {gzipped(t, tarOf(t, file("a", randomText(5000))))[:2500], "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "archive")
			writeArchive(t, archive, tt.content)
			c := open(t, Config{Unpack: Limits{Entries: 100, Bytes: 70 << 20}})
			path, err := c.Fetch(t.Context(), drivers.Image{Reference: archive}, nil)
			if !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%q, %v; want ErrImage that says %q", path, err, tt.text)
			}
			wantClean(t, c)
		})
	}
}

// randomText is text that does not compress well, the same each time.
func randomText(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

func TestPlainFilesAreNotUnpacked(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty": {}, "program": []byte("\x7fELF…"), "gzip of a kernel": gzipped(t, []byte("kernel")),
		"zstd of a kernel": zstdOf(t, []byte("kernel")), "only looks like gzip": []byte("\x1f\x8b\x08"),
	} {
		if got, err := detectReader(bytes.NewReader(content)); got != plain || err != nil {
			t.Errorf("%s: kind %d, %v; want plain", name, got, err)
		}
	}
}

// FuzzUnpack: whatever an archive says, nothing appears outside its folder,
// nothing in it leads outside, and nothing is special.
func FuzzUnpack(f *testing.F) {
	good := []entry{special(tar.TypeDir, "d", ""), file("d/f", "x"), symlink("l", "d/f"), hardlink("h", "d/f")}
	evil := []entry{symlink("a", "."), symlink("a/b", ".."), file("../x", ""), special(tar.TypeChar, "c", "")}
	for _, entries := range [][]entry{good, evil} {
		f.Add(tarOf(f, entries...))
		f.Add(gzipped(f, tarOf(f, entries...)))
		f.Add(zstdOf(f, tarOf(f, entries...)))
	}
	f.Add(zipOf(f, good[:3]...))
	f.Add(zipOf(f, evil[:3]...))
	f.Fuzz(func(t *testing.T, content []byte) {
		outer := t.TempDir()
		archive := filepath.Join(outer, "archive")
		writeArchive(t, archive, content)
		kind, err := detect(archive)
		if err != nil || kind == plain {
			return
		}
		dir := filepath.Join(outer, "tree")
		limits := Limits{Entries: 50, Bytes: 1 << 20}.orDefault()
		err = unpack(t.Context(), archive, kind, dir, limits, func(drivers.Progress) {})
		if left, _ := os.ReadDir(outer); len(left) != 2 {
			t.Fatalf("something was written outside: %v", left)
		}
		if err != nil {
			return
		}
		checkTree(t, dir)
	})
}

func checkTree(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode().Type()&^(fs.ModeDir|fs.ModeSymlink) != 0, info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0:
			t.Errorf("%s has mode %s", path, info.Mode())
		case info.Mode().Type() == fs.ModeSymlink:
			to, err := filepath.EvalSymlinks(path)
			if err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
				t.Errorf("%s leads to %s", path, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
