package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// Logs implements drivers.Driver. Tail counts the daemon's records: a line is
// one, but those over 16 KiB are several.
func (d *Driver) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	const op = "logs"
	id, err := d.containerOf(op, h)
	if err != nil {
		return err
	}
	pos := newLogPosition(o, time.Now())
	if !o.Follow {
		return d.logsError(ctx, op, h, d.readLogs(ctx, id, pos, sink))
	}
	sub := d.events.subscribe(id)
	defer d.events.unsubscribe(sub)
	for {
		err := d.readLogs(ctx, id, pos, sink)
		broken := err != nil
		if broken {
			err = d.logsError(ctx, op, h, err)
			if pos.attempts > 1 && errors.Is(err, drivers.ErrNotFound) {
				return nil
			}
			if ctx.Err() != nil || !errors.Is(err, drivers.ErrUnavailable) {
				return err
			}
		} else if c, err := d.inspect(ctx, op, h); err == nil {
			// The stream of a running container has no end of its own.
			broken = isRunning(c.State)
		}
		if err := sub.next(ctx, broken); err != nil {
			return d.fail(ctx, op, h.ID, err)
		}
	}
}

// sinkError carries an error of the reader of the logs past the classification.
type sinkError struct{ err error }

func (e sinkError) Error() string { return e.err.Error() }

func (d *Driver) logsError(ctx context.Context, op string, h drivers.Handle, err error) error {
	var fromSink sinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fromSink):
		return fromSink.err
	}
	return d.fail(ctx, op, h.ID, err)
}

// readLogs reads one stream of logs from the position to its end.
func (d *Driver) readLogs(ctx context.Context, id string, pos *logPosition, sink func(drivers.LogEntry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(d.cfg.QueryTimeout, cancel)
	stream, err := d.api.Load().ContainerLogs(ctx, id, pos.next())
	if !patience.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	frames := frameReader{r: stream}
	for {
		entry, err := frames.next()
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if !pos.accept(entry) {
			continue
		}
		if err := sink(entry); err != nil {
			return sinkError{err}
		}
	}
}

// maxFrame bounds a frame of the log stream. The daemon's records are 16 KiB at most.
const maxFrame = 16 << 20

// frameReader takes apart the daemon's log stream: frames of an 8-byte header
// (stream, three zero bytes, size as big endian) and a payload, which is one
// record behind its time.
type frameReader struct {
	r   io.Reader
	buf []byte
}

// next returns the next record; its Data is valid until the next call. io.EOF
// is returned between two frames only.
func (f *frameReader) next() (drivers.LogEntry, error) {
	var header [8]byte
	if _, err := io.ReadFull(f.r, header[:]); err != nil {
		return drivers.LogEntry{}, err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if size > maxFrame {
		return drivers.LogEntry{}, fmt.Errorf("log stream: frame of %d bytes", size)
	}
	if int(size) > cap(f.buf) {
		f.buf = make([]byte, size)
	}
	f.buf = f.buf[:size]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return drivers.LogEntry{}, fmt.Errorf("log stream: %w", noEOF(err))
	}
	var e drivers.LogEntry
	switch header[0] {
	case 0, 1:
		e.Stream = drivers.Stdout
	case 2:
		e.Stream = drivers.Stderr
	case 3:
		return drivers.LogEntry{}, fmt.Errorf("log stream: the daemon says: %s", strings.TrimSpace(string(f.buf)))
	default:
		return drivers.LogEntry{}, fmt.Errorf("log stream: unknown stream %d", header[0])
	}
	for i, b := range f.buf[:min(len(f.buf), 64)] {
		if b != ' ' {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, string(f.buf[:i]))
		if err != nil {
			return drivers.LogEntry{}, fmt.Errorf("log stream: %w", err)
		}
		e.Time, e.Data = t, f.buf[i+1:]
		return e, nil
	}
	return drivers.LogEntry{}, errors.New("log stream: a record without a time")
}

// noEOF turns the end of the stream within a frame into an error that is none.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// logOverlap is how much of what was passed on already is asked for again when
// a stream is resumed: the two streams' records may be out of order by as much.
const logOverlap = 2 * time.Second

// logPosition knows what part of a log was passed on, so that reading goes on
// after a break without loss or repetition.
type logPosition struct {
	opts     drivers.LogOptions
	attached time.Time
	attempts int
	first    time.Time // of the first record passed on
	latest   time.Time
	streams  map[drivers.Stream]*streamPosition
}

type streamPosition struct {
	last    time.Time // of the last record passed on
	count   int       // how many of that time were
	skip    int       // how many of that time are still to be skipped
	current bool      // this attempt has reached what is new
}

func newLogPosition(o drivers.LogOptions, now time.Time) *logPosition {
	return &logPosition{opts: o, attached: now, streams: map[drivers.Stream]*streamPosition{
		drivers.Stdout: {}, drivers.Stderr: {},
	}}
}

// next begins an attempt and returns what to ask the daemon for.
func (p *logPosition) next() client.ContainerLogsOptions {
	p.attempts++
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: p.opts.Follow}
	since := p.opts.Since
	switch {
	case p.attempts == 1:
		if p.opts.Tail >= 0 {
			o.Tail = strconv.Itoa(p.opts.Tail)
		}
	case !p.latest.IsZero():
		since = p.latest.Add(-logOverlap)
	case p.opts.Tail >= 0 && p.attached.After(since):
		since = p.attached
	}
	if !since.IsZero() {
		o.Since = eventTime(since)
	}
	for _, s := range p.streams {
		s.skip, s.current = s.count, p.attempts == 1
	}
	return o
}

// accept tells whether a record is new and wanted, and moves the position if so.
func (p *logPosition) accept(e drivers.LogEntry) bool {
	if !p.opts.Since.IsZero() && !e.Time.After(p.opts.Since) {
		return false
	}
	s := p.streams[e.Stream]
	if !s.current {
		switch {
		case s.count == 0 && p.opts.Tail >= 0 && !e.Time.After(p.first):
			return false
		case e.Time.Before(s.last):
			return false
		case e.Time.Equal(s.last) && s.skip > 0:
			s.skip--
			return false
		}
		s.current = true
	}
	if !e.Time.Equal(s.last) {
		s.last, s.count = e.Time, 0
	}
	s.count++
	if p.first.IsZero() {
		p.first = e.Time
	}
	if e.Time.After(p.latest) {
		p.latest = e.Time
	}
	return true
}
