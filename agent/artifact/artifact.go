// Package artifact gets the images that are files: from the node's disk, over
// HTTP(S), or out of an OCI registry, for drivers with FeatureImageFile.
//
// It owns the cache directory: content-addressed, bounded, shared by any
// number of agents on the machine. What it hands out has been verified and is
// whole; archives are unpacked without trust in their authors. It does not
// look into programs: a wrong architecture is the driver's matter.
//
// The directory holds
//
//	entries/SHA256/   content ("file" or "tree"), "lock" (flock, time of last use), "size"
//	partial/KEY       downloads under way or to be resumed, locked by who writes
//	refs/KEY          which content a mutable reference had last
//	tmp/              what is being put together, locked by who does it
package artifact

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
)

// Config says where images are kept and how they are fetched.
type Config struct {
	Dir         string                // the cache; made if missing
	MaxBytes    int64                 // bound of the cache's content and of one image; 0: DefaultMaxBytes
	Unpack      Limits                // bounds of archives; zero fields: 200,000 entries, 8 GiB, 200 times the packed size
	Credentials map[string]Credential // by registry or web server, "host" or "host:port"
	Transport   http.RoundTripper     // nil: one with sensible timeouts
}

// Credential is a user name with a password or token.
type Credential struct {
	Username string
	Password string
}

// DefaultMaxBytes bounds the cache if Config does not.
const DefaultMaxBytes = 10 << 30

// Cache fetches images and keeps them. It is safe for concurrent use, also by
// several processes on one directory.
type Cache struct {
	cfg    Config
	log    *slog.Logger
	client *http.Client

	mu      sync.Mutex
	flights map[string]*flight
	running sync.WaitGroup
	closed  bool

	pinMu sync.Mutex
	pins  map[string]*pin // by digest
}

// New opens the cache and removes what interrupted processes have left in it.
func New(cfg Config, log *slog.Logger) (*Cache, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	cfg.Unpack = cfg.Unpack.orDefault()
	c := &Cache{cfg: cfg, log: log, flights: map[string]*flight{}, pins: map[string]*pin{}}
	c.client = newClient(cfg.Transport)
	for _, dir := range []string{"entries", "partial", "refs", "tmp"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
	}
	if err := c.clean(); err != nil {
		return nil, fmt.Errorf("clean image cache: %w", err)
	}
	return c, nil
}

// Close ends all fetches, waits for them, and lets go of what is in use.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, f := range c.flights {
		f.cancel()
	}
	c.mu.Unlock()
	c.running.Wait()
	c.pinMu.Lock()
	defer c.pinMu.Unlock()
	var err error
	for digest, p := range c.pins {
		err = errors.Join(err, p.lock.Close())
		delete(c.pins, digest)
	}
	return err
}

// Fetch returns the path of a local file, or of the folder of an unpacked
// archive, with the image's content; it is read-only for the caller. A local
// file that is no archive is used where it is. What Fetch returns stays in the
// cache until Release has been called as often, or the process ends.
//
// Equal fetches under way share one download. If the source of a mutable
// reference cannot be reached, the content it had last is used. progress may
// be nil and is not called after Fetch has returned.
//
// Errors carry a class: ErrInvalid (the reference or checksum makes no sense),
// ErrImage (missing, wrong checksum, unusable archive), ErrDenied,
// ErrExhausted (disk or cache full), ErrUnavailable (worth another try).
func (c *Cache) Fetch(ctx context.Context, image drivers.Image, progress func(drivers.Progress)) (string, error) {
	image.SHA256 = strings.ToLower(strings.TrimPrefix(image.SHA256, "sha256:"))
	if image.SHA256 != "" && !isDigest(image.SHA256) {
		return "", c.failure(image, classed(drivers.ErrInvalid, "the checksum %q is not a SHA-256 in 64 hexadecimal digits", image.SHA256))
	}
	src, err := c.source(image)
	if err != nil {
		return "", c.failure(image, err)
	}
	if image.SHA256 != "" {
		if path, ok, err := c.acquire(image.SHA256); err != nil || ok {
			return path, c.failure(image, err)
		}
	}
	path, err := c.join(ctx, image, src, progress)
	return path, c.failure(image, err)
}

// source is where an image comes from.
type source interface {
	// fetch returns either a path outside the cache, used where it is, or the
	// digest of a published entry.
	fetch(ctx context.Context, image drivers.Image, report func(drivers.Progress)) (result, error)
}

// result is what a source has got.
type result struct {
	path   string // outside the cache
	digest string // of the entry, if path is empty
}

// source tells by the reference's form where to get it.
func (c *Cache) source(image drivers.Image) (source, error) {
	ref := image.Reference
	scheme, rest, hasScheme := strings.Cut(ref, "://")
	switch {
	case ref == "":
		return nil, classed(drivers.ErrInvalid, "the image is empty; give a path, a URL or an OCI reference")
	case filepath.IsAbs(ref):
		return localSource{c, filepath.Clean(ref)}, nil
	case !hasScheme:
		return c.newOCI(ref)
	case scheme == "file":
		path := strings.TrimPrefix(rest, "localhost")
		if !filepath.IsAbs(path) {
			return nil, classed(drivers.ErrInvalid, "the path must be absolute, as in file:///opt/app")
		}
		return localSource{c, filepath.Clean(path)}, nil
	case scheme == "oci":
		return c.newOCI(rest)
	case scheme == "http", scheme == "https":
		return c.newHTTP(ref, image.SHA256)
	}
	return nil, classed(drivers.ErrInvalid, "the scheme %q is not known; use a path, file://, https://, http:// or oci://", scheme)
}

// failure names the image in err and sees to it that it has a class.
func (c *Cache) failure(image drivers.Image, err error) error {
	if err == nil {
		return nil
	}
	reference := image.Reference
	if u, parseErr := url.Parse(reference); parseErr == nil && u.User != nil {
		reference = u.Redacted()
	}
	class := drivers.ErrUnavailable
	var known *classError
	switch {
	case errors.As(err, &known):
		class = known.class
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return drivers.Errorf(drivers.ErrExhausted, "fetch image", reference,
			"no space left on the disk of %s; free some, or lower the bound of the image cache: %w", c.cfg.Dir, err)
	case errors.Is(err, os.ErrPermission):
		class = drivers.ErrDenied
	}
	return drivers.Errorf(class, "fetch image", reference, "%w", err)
}

// classError is an error within the package: its class, and the words. Fetch
// adds which image it is about.
type classError struct{ class, err error }

func (e *classError) Error() string   { return e.err.Error() }
func (e *classError) Unwrap() []error { return []error{e.class, e.err} }

// classed returns an error of the class; format and args word it for the user.
func classed(class error, format string, args ...any) error {
	return &classError{class, fmt.Errorf(format, args...)}
}

func (c *Cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.cfg.Dir}, elem...)...)
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}
