package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// lockPoll is how often a download that another process is at is looked at
// again: flock(2) cannot wait for a context.
const lockPoll = 100 * time.Millisecond

// partial is a download: a file that grows, locked by who writes to it, and
// what must be known to go on with it after an interruption.
type partial struct {
	file      *os.File
	notePath  string
	size      int64
	validator string // of what the server sent: an ETag or a date; see If-Range, RFC 9110 §13.1.5
}

// openPartial opens the download with this key and waits until no other
// process is at it.
func (c *Cache) openPartial(ctx context.Context, key string) (*partial, error) {
	path := c.path("partial", key)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isAt(f, path) {
			return readPartial(f)
		}
		_ = f.Close() // nothing was written
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func readPartial(f *os.File) (*partial, error) {
	p := &partial{file: f, notePath: f.Name() + ".validator"}
	note, err := os.ReadFile(p.notePath)
	if err == nil {
		p.validator = string(note)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, f.Close())
	}
	if p.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// restart forgets what is there; validator is that of what comes now.
func (p *partial) restart(validator string) error {
	p.size, p.validator = 0, validator
	_, err := p.file.Seek(0, io.SeekStart)
	return errors.Join(err, p.file.Truncate(0), os.WriteFile(p.notePath, []byte(validator), 0o600))
}

// finish lets go of the download. It is kept only to be resumed: after an
// interruption, if it can be continued.
func (p *partial) finish(err error) error {
	isInterrupted := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, drivers.ErrUnavailable)
	if isInterrupted && p.validator != "" && p.size > 0 {
		return p.file.Close()
	}
	return errors.Join(remove(p.file.Name()), remove(p.notePath), p.file.Close())
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// receive appends body to the download and returns the digest of all of it.
// total is the size expected in the end, 0 if unknown.
func (c *Cache) receive(ctx context.Context, p *partial, body io.Reader, total int64, report func(drivers.Progress)) (string, error) {
	if total > c.cfg.MaxBytes {
		return "", c.tooBig(total)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(p.file, 0, p.size)); err != nil {
		return "", err
	}
	buf := make([]byte, 128<<10)
	for {
		n, readErr := body.Read(buf)
		if _, err := p.file.Write(buf[:n]); err != nil {
			return "", err
		}
		sum.Write(buf[:n])
		p.size += int64(n)
		if p.size > c.cfg.MaxBytes {
			return "", c.tooBig(p.size)
		}
		report(drivers.Progress{Phase: "pulling", Current: p.size, Total: total})
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case readErr == io.EOF:
			return finalDigest(sum, p.size, total)
		case readErr != nil:
			return "", classed(drivers.ErrUnavailable, "the download broke off after %d bytes: %w", p.size, readErr)
		}
	}
}

func finalDigest(sum hash.Hash, size, total int64) (string, error) {
	if total > 0 && size < total {
		return "", classed(drivers.ErrUnavailable, "the download broke off after %d of %d bytes", size, total)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (c *Cache) tooBig(size int64) error {
	return classed(drivers.ErrExhausted, "it has at least %d bytes, the image cache is bounded to %d; raise the bound", size, c.cfg.MaxBytes)
}

func wrongChecksum(want, got string) error {
	return classed(drivers.ErrImage, "the content has the SHA-256 %s, the job asks for %s; the image was changed, or the job file is out of date", got, want)
}

// ref remembers which content a mutable reference had.
type ref struct {
	Reference string `json:"reference"`
	SHA256    string `json:"sha256"`
	ETag      string `json:"etag,omitempty"`
}

func refKey(reference, arch string) string {
	sum := sha256.Sum256([]byte(reference + "\x00" + arch))
	return hex.EncodeToString(sum[:])
}

// lookUp returns what the reference had last, if that is still in the cache.
func (c *Cache) lookUp(reference, arch string) (ref, bool) {
	r, ok := readRef(c.path("refs", refKey(reference, arch)))
	if !ok || r.Reference != reference {
		return ref{}, false // as good as never seen
	}
	return r, c.has(r.SHA256)
}

func readRef(path string) (ref, bool) {
	var r ref
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &r) != nil || !isDigest(r.SHA256) {
		return ref{}, false
	}
	return r, true
}

func (c *Cache) remember(r ref, arch string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(c.path("refs"), ".new-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), c.path("refs", refKey(r.Reference, arch)))
	}
	if err != nil {
		return fmt.Errorf("remember %s: %w", r.Reference, errors.Join(err, remove(temp.Name())))
	}
	return nil
}

// isLocal tells whether the trouble is with this node's disk and not with the network.
func isLocal(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}
