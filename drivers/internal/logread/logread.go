// Package logread reads the rotated logs that package crilog writes, from the
// beginning, the last lines or a time on, and follows them as they grow.
package logread

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/crilog"
)

// maxFiles bounds the search for older files of a log.
const maxFiles = 100

// Read passes the log at path to sink as drivers.Driver.Logs promises. With
// Follow it returns nil once the log's folder is gone or has moved. A log that
// does not exist is empty.
func Read(ctx context.Context, n *Notifier, path string, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	dir := filepath.Dir(path)
	home, err := os.Stat(dir)
	if err != nil {
		return err
	}
	var changed <-chan struct{}
	if o.Follow {
		c, stop, err := n.Watch(dir)
		if err != nil {
			return err
		}
		defer stop()
		changed = c
	}
	r := &reader{path: path, since: o.Since, sink: sink}
	defer r.close()
	if err := r.begin(ctx, o.Tail); err != nil {
		return err
	}
	for {
		if err := r.drain(ctx); err != nil {
			return err
		}
		if !o.Follow {
			return nil
		}
		if now, err := os.Stat(dir); err != nil || !os.SameFile(now, home) {
			return r.drain(ctx) // what came between the last look and the end
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reader stands at a place in a log.
type reader struct {
	path  string
	since time.Time
	sink  func(drivers.LogEntry) error
	files []*os.File // still to be read, oldest first; the first is being read
	buf   *bufio.Reader
	part  []byte // of a line whose end is not written yet
	skip  int    // lines to leave out
	open  map[string]bool
}

func (r *reader) close() {
	for _, f := range r.files {
		f.Close()
	}
}

// begin opens the files and finds where the last tail lines begin.
func (r *reader) begin(ctx context.Context, tail int) error {
	// Newest first: a rotation meanwhile shows a file twice rather than never.
	for i := range maxFiles {
		f, err := os.Open(crilog.Name(r.path, i))
		if errors.Is(err, os.ErrNotExist) {
			if i == 0 {
				continue // between a rotation and the next output
			}
			break
		}
		if err != nil {
			return err
		}
		if len(r.files) > 0 && same(r.files[0], f) {
			f.Close()
			continue
		}
		r.files = append([]*os.File{f}, r.files...)
	}
	if tail < 0 {
		return nil
	}
	return r.countFrom(ctx, tail)
}

func same(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// countFrom sets skip so that tail lines of what is there now remain.
func (r *reader) countFrom(ctx context.Context, tail int) error {
	lines := lineCounter{}
	for _, f := range r.files {
		in := bufio.NewReaderSize(f, 64<<10)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				break
			}
			if rec, err := crilog.Parse(line[:len(line)-1]); err == nil && rec.Time.After(r.since) {
				lines.add(rec)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	r.skip = max(lines.n-tail, 0)
	r.open = map[string]bool{}
	return nil
}

// lineCounter counts the lines that begin.
type lineCounter struct {
	n    int
	open map[string]bool // streams that stand in the middle of a line
}

func (c *lineCounter) add(rec crilog.Record) {
	if c.open == nil {
		c.open = map[string]bool{}
	}
	if !c.open[rec.Stream] {
		c.n++
	}
	c.open[rec.Stream] = rec.Partial
}

// drain passes on all that is there now.
func (r *reader) drain(ctx context.Context) error {
	for {
		if len(r.files) == 0 && !r.next() {
			return nil
		}
		if r.buf == nil {
			r.buf = bufio.NewReaderSize(r.files[0], 64<<10)
		}
		if err := r.readFile(ctx); err != nil {
			return err
		}
		if len(r.files) > 1 {
			r.advance()
			continue
		}
		if !r.next() {
			return nil
		}
		// The file was renamed; it may have grown before that.
		if err := r.readFile(ctx); err != nil {
			return err
		}
		r.advance()
	}
}

func (r *reader) advance() {
	r.files[0].Close()
	r.files, r.buf, r.part = r.files[1:], nil, nil
}

// next opens what follows the file that is being read, if there is anything.
func (r *reader) next() bool {
	if len(r.files) == 0 {
		f, err := os.Open(r.path)
		if err != nil {
			return false
		}
		r.files = []*os.File{f}
		return true
	}
	var newer []*os.File
	for i := range maxFiles {
		f, err := os.Open(crilog.Name(r.path, i))
		if err != nil {
			if i == 0 {
				continue
			}
			break
		}
		if same(f, r.files[0]) {
			f.Close()
			break
		}
		newer = append([]*os.File{f}, newer...)
	}
	r.files = append(r.files, newer...)
	return len(newer) > 0
}

// readFile passes on the whole lines of the first file from here on.
func (r *reader) readFile(ctx context.Context) error {
	for {
		line, err := r.buf.ReadBytes('\n')
		r.part = append(r.part, line...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		whole := r.part
		r.part = r.part[:0]
		if err := r.pass(whole); err != nil {
			return err
		}
	}
}

// pass hands a line to the sink. Lines that are not records are what a power
// loss left; they are passed over.
func (r *reader) pass(line []byte) error {
	rec, err := crilog.Parse(bytes.TrimSuffix(line, []byte{'\n'}))
	if err != nil || !rec.Time.After(r.since) {
		return nil
	}
	if r.open != nil {
		if !r.open[rec.Stream] {
			r.skip--
		}
		r.open[rec.Stream] = rec.Partial
		if r.skip >= 0 {
			return nil
		}
	}
	data := rec.Content
	if !rec.Partial {
		data = data[:len(data)+1] // the newline that follows it in line
	}
	return r.sink(drivers.LogEntry{Time: rec.Time, Stream: drivers.Stream(rec.Stream), Data: data})
}
