package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

func open(t testing.TB, cfg Config) *Cache {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes %.40q, %v; want %d bytes %.40q", path, len(got), got, err, len(want), want)
	}
}

// wantClean fails if anything is left of downloads and stages.
func wantClean(t testing.TB, c *Cache) {
	t.Helper()
	for _, dir := range []string{"tmp", "partial"} {
		if left, err := os.ReadDir(c.path(dir)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// web serves content that tests can change, and counts requests.
type web struct {
	*httptest.Server
	mu       sync.Mutex
	content  []byte
	status   int           // if not 0: instead of content
	breakAt  int           // if not 0: the connection breaks after so many bytes, once
	hold     chan struct{} // if not nil: answers wait for it
	requests []*http.Request
}

func newWeb(t testing.TB, content []byte) *web {
	w := &web{content: content}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *web) set(change func()) { w.mu.Lock(); defer w.mu.Unlock(); change() }

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.requests = append(w.requests, r)
	content, status, breakAt, hold := w.content, w.status, w.breakAt, w.hold
	w.breakAt = 0
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if status != 0 {
		rw.WriteHeader(status)
		return
	}
	rw.Header().Set("ETag", `"`+digestOf(content)+`"`)
	if breakAt > 0 {
		rw.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = rw.Write(content[:breakAt])
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(content))
}

func (w *web) last() *http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[len(w.requests)-1]
}

func (w *web) count() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.requests) }

func TestReferences(t *testing.T) {
	c := open(t, Config{})
	dir := t.TempDir()
	file := filepath.Join(dir, "app")
	if err := os.WriteFile(file, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := digestOf([]byte("program"))
	tests := []struct {
		image drivers.Image
		path  string
		class error
		text  string
	}{
		{image: drivers.Image{Reference: file}, path: file},
		{image: drivers.Image{Reference: "file://" + file, SHA256: sum}, path: file},
		{image: drivers.Image{Reference: "file://localhost" + file, SHA256: "sha256:" + strings.ToUpper(sum)}, path: file},
		{image: drivers.Image{Reference: dir}, path: dir},
		{image: drivers.Image{Reference: dir, SHA256: sum}, class: drivers.ErrInvalid, text: "folder"},
		{image: drivers.Image{Reference: file, SHA256: digestOf(nil)}, class: drivers.ErrImage, text: sum},
		{image: drivers.Image{Reference: file + "x"}, class: drivers.ErrImage, text: "no such file"},
		{image: drivers.Image{Reference: "/dev/null"}, class: drivers.ErrImage, text: "neither"},
		{image: drivers.Image{Reference: file, SHA256: "12"}, class: drivers.ErrInvalid, text: "64"},
		{image: drivers.Image{Reference: ""}, class: drivers.ErrInvalid, text: "empty"},
		{image: drivers.Image{Reference: "file://app"}, class: drivers.ErrInvalid, text: "absolute"},
		{image: drivers.Image{Reference: "ftp://host/app"}, class: drivers.ErrInvalid, text: "ftp"},
		{image: drivers.Image{Reference: "http://example.com/app"}, class: drivers.ErrInvalid, text: "checksum"},
		{image: drivers.Image{Reference: "https://"}, class: drivers.ErrInvalid, text: "host"},
		{image: drivers.Image{Reference: "https://user:secret@example.com/app"}, class: drivers.ErrInvalid, text: "credentials"},
		{image: drivers.Image{Reference: "Not a reference"}, class: drivers.ErrInvalid, text: "neither"},
		{image: drivers.Image{Reference: "http://127.0.0.1:1/app"}, class: drivers.ErrUnavailable, text: "refused"},
		{image: drivers.Image{Reference: "127.0.0.1:1/app:v1"}, class: drivers.ErrUnavailable, text: "refused"},
	}
	for _, tt := range tests {
		path, err := c.Fetch(t.Context(), tt.image, nil)
		if path != tt.path || !errors.Is(err, tt.class) {
			t.Errorf("%+v: %q, %v; want %q, class %v", tt.image, path, err, tt.path, tt.class)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret@")) {
			t.Errorf("%+v: error %q does not say %q, or says too much", tt.image, err, tt.text)
		}
	}
	wantClean(t, c)
}

func TestHTTP(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 50_000)
	w := newWeb(t, content)
	c := open(t, Config{Credentials: map[string]Credential{strings.TrimPrefix(w.URL, "http://"): {"user", "word"}}})
	var last drivers.Progress
	image := drivers.Image{Reference: w.URL + "/app", SHA256: digestOf(content)}
	path, err := c.Fetch(t.Context(), image, func(p drivers.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, content)
	if user, word, _ := w.last().BasicAuth(); user != "user" || word != "word" {
		t.Errorf("credentials %q %q were sent", user, word)
	}
	if last.Total != 0 && last.Total != int64(len(content)) {
		t.Errorf("last progress %+v", last)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o555 {
		t.Errorf("mode %v, %v; want 0555", info.Mode(), err)
	}
	if again, err := c.Fetch(t.Context(), image, nil); err != nil || again != path || w.count() != 1 {
		t.Errorf("again: %q, %v, %d requests; want the same without asking", again, err, w.count())
	}
	image.SHA256 = digestOf(nil)
	if _, err := c.Fetch(t.Context(), image, nil); !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), image.SHA256) {
		t.Errorf("wrong checksum: %v, want ErrImage with both", err)
	}
	wantClean(t, c)
}

func TestHTTPStatus(t *testing.T) {
	for status, class := range map[int]error{
		401: drivers.ErrDenied, 403: drivers.ErrDenied, 404: drivers.ErrImage, 410: drivers.ErrImage,
		408: drivers.ErrUnavailable, 429: drivers.ErrUnavailable, 500: drivers.ErrUnavailable, 503: drivers.ErrUnavailable,
	} {
		w := newWeb(t, nil)
		w.status = status
		c := open(t, Config{})
		if _, err := c.Fetch(t.Context(), drivers.Image{Reference: w.URL}, nil); !errors.Is(err, class) || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("status %d: %v, want class %v", status, err, class)
		}
		wantClean(t, c)
	}
}

func TestHTTPWithoutChecksumIsRevalidated(t *testing.T) {
	w := newWeb(t, []byte("one"))
	c := open(t, Config{})
	image := drivers.Image{Reference: w.URL + "/app"}
	fetch := func(want string) {
		t.Helper()
		path, err := c.Fetch(t.Context(), image, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, []byte(want))
	}
	fetch("one")
	fetch("one")
	if got := w.last().Header.Get("If-None-Match"); got == "" || w.count() != 2 {
		t.Errorf("%d requests, If-None-Match %q; want the server to be asked for changes", w.count(), got)
	}
	w.set(func() { w.content = []byte("two") })
	fetch("two")
	w.set(func() { w.status = http.StatusBadGateway })
	fetch("two") // out of reach: what there was last
	w.set(func() { w.status = http.StatusNotFound })
	if _, err := c.Fetch(t.Context(), image, nil); !errors.Is(err, drivers.ErrImage) {
		t.Errorf("withdrawn: %v, want ErrImage", err)
	}
}

func TestHTTPResumes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	changed := bytes.Repeat([]byte("fedcba9876543210"), 50_000)
	for name, tt := range map[string]struct{ next []byte }{"same": {content}, "changed": {changed}} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, content)
			w.breakAt = 300_000
			c := open(t, Config{})
			image := drivers.Image{Reference: w.URL + "/app"}
			if _, err := c.Fetch(t.Context(), image, nil); !errors.Is(err, drivers.ErrUnavailable) {
				t.Fatalf("broken download: %v, want ErrUnavailable", err)
			}
			w.set(func() { w.content = tt.next })
			path, err := c.Fetch(t.Context(), image, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, tt.next)
			if r := w.last(); r.Header.Get("Range") == "" || r.Header.Get("If-Range") == "" {
				t.Errorf("second request without Range and If-Range: %v", r.Header)
			}
			wantClean(t, c)
		})
	}
}

func TestEqualFetchesAreMerged(t *testing.T) {
	w := newWeb(t, []byte("content"))
	w.hold = make(chan struct{})
	c := open(t, Config{})
	image := drivers.Image{Reference: w.URL + "/app"}
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() { _, err := c.Fetch(ctx, image, nil); impatient <- err }()
	var wg sync.WaitGroup
	var boarded atomic.Int32
	for range 5 {
		wg.Go(func() {
			boarded.Add(1)
			path, err := c.Fetch(t.Context(), image, nil)
			if err != nil {
				t.Error(err)
				return
			}
			wantFile(t, path, []byte("content"))
		})
	}
	waitFor(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.flights {
			return len(f.waiters) == 6
		}
		return false
	})
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v, want context.Canceled", err)
	}
	close(w.hold)
	wg.Wait()
	if w.count() != 1 {
		t.Errorf("%d requests, want 1", w.count())
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass")
		}
		time.Sleep(time.Millisecond) // polls a condition
	}
}

func TestCancelEndsTheFetch(t *testing.T) {
	w := newWeb(t, []byte("content"))
	w.hold = make(chan struct{})
	defer close(w.hold)
	c := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := c.Fetch(ctx, drivers.Image{Reference: w.URL}, nil); ended <- err }()
	waitFor(t, func() bool { return w.count() == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	c.running.Wait()
	wantClean(t, c)
}

func TestTwoAgentsShareACache(t *testing.T) {
	w := newWeb(t, []byte("content"))
	dir := t.TempDir()
	first, second := open(t, Config{Dir: dir}), open(t, Config{Dir: dir})
	image := drivers.Image{Reference: w.URL, SHA256: digestOf([]byte("content"))}
	var wg sync.WaitGroup
	for _, c := range []*Cache{first, second, first, second} {
		wg.Go(func() {
			if _, err := c.Fetch(t.Context(), image, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if w.count() != 1 {
		t.Errorf("%d requests, want 1", w.count())
	}
	first.Release(first.path("entries", image.SHA256, "file"))
	first.Release(first.path("entries", image.SHA256, "file"))
	first.evict(0)
	if !first.has(image.SHA256) {
		t.Error("an image in use by another agent was evicted")
	}
}

func TestEviction(t *testing.T) {
	w := newWeb(t, nil)
	c := open(t, Config{MaxBytes: 2500})
	fetch := func(fill byte) (path, digest string) {
		t.Helper()
		content := bytes.Repeat([]byte{fill}, 1000)
		w.set(func() { w.content = content })
		digest = digestOf(content)
		path, err := c.Fetch(t.Context(), drivers.Image{Reference: w.URL, SHA256: digest}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return path, digest
	}
	a, aDigest := fetch('a')
	b, bDigest := fetch('b')
	c.Release(b)
	_, cDigest := fetch('c')
	if !c.has(aDigest) || c.has(bDigest) || !c.has(cDigest) {
		t.Errorf("kept: a %t, b %t, c %t; want b gone, since a is older but in use", c.has(aDigest), c.has(bDigest), c.has(cDigest))
	}
	c.Release(a)
	if ok, err := c.Acquire(a); !ok || err != nil {
		t.Errorf("acquire of what is there: %t, %v", ok, err)
	}
	if ok, err := c.Acquire(b); ok || err != nil {
		t.Errorf("acquire of what is gone: %t, %v", ok, err)
	}
	w.set(func() { w.content = make([]byte, 3000) })
	if _, err := c.Fetch(t.Context(), drivers.Image{Reference: w.URL + "/big"}, nil); !errors.Is(err, drivers.ErrExhausted) {
		t.Errorf("more than the cache may hold: %v, want ErrExhausted", err)
	}
	wantClean(t, c)
}

func TestCleanAtStart(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	live, err := c.stage()
	if err != nil {
		t.Fatal(err)
	}
	dead, err := c.stage()
	if err != nil {
		t.Fatal(err)
	}
	stale := c.path("partial", "old")
	if err := errors.Join(dead.lock.Close(), os.WriteFile(stale, nil, 0o600), os.Chtimes(stale, time.Time{}, time.Unix(0, 0))); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	if !exists(live.dir) || exists(dead.dir) || exists(stale) {
		t.Errorf("there are: live stage %t, dead stage %t, old download %t", exists(live.dir), exists(dead.dir), exists(stale))
	}
	if err := live.discard(); err != nil {
		t.Error(err)
	}
}

func TestReferencesAreForgottenWithTheirContent(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	here, gone := digestOf([]byte("here")), digestOf([]byte("gone"))
	entry := c.path("entries", here)
	err := errors.Join(os.Mkdir(entry, 0o755), os.WriteFile(filepath.Join(entry, "lock"), nil, 0o644),
		c.remember(ref{Reference: "https://a/here", SHA256: here}, ""),
		c.remember(ref{Reference: "https://a/gone", SHA256: gone}, ""),
		c.remember(ref{Reference: "https://a/young", SHA256: gone}, ""),
		os.WriteFile(c.path("refs", ".new-1"), []byte("{"), 0o600))
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{refKey("https://a/here", ""), refKey("https://a/gone", ""), ".new-1"} {
		err = errors.Join(err, os.Chtimes(c.path("refs", name), old, old))
	}
	if err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
	left, err := os.ReadDir(c.path("refs"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	want := []string{refKey("https://a/here", ""), refKey("https://a/young", "")}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left: %v; want %v", names, want)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small disk cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	w := newWeb(t, make([]byte, 1<<20))
	archive := filepath.Join(t.TempDir(), "big.tar")
	writeArchive(t, archive, tarOf(t, file("zeroes", string(make([]byte, 1<<20)))))
	c := open(t, Config{Dir: dir})
	for _, ref := range []string{w.URL, archive} {
		_, err := c.Fetch(t.Context(), drivers.Image{Reference: ref}, nil)
		if !errors.Is(err, drivers.ErrExhausted) || !strings.Contains(err.Error(), "no space") {
			t.Errorf("%s: %v, want ErrExhausted", ref, err)
		}
		wantClean(t, c)
	}
}
