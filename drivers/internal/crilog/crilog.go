// Package crilog writes and parses logs in the format of the Kubernetes
// container runtime interface:
//
//	2026-11-23T18:01:24.123456789Z stdout F a whole line
//	2026-11-23T18:01:25.000000000Z stderr P the beginning of a line,
//
// F ends in a newline of the workload's, P does not. The content may hold any
// byte but a newline, so that all records joined are exactly what was written.
//
// The package is linked into edgeshim: standard library only.
package crilog

import (
	"bytes"
	"errors"
	"time"
)

// layout has a fixed width, so that lines of a file line up.
const layout = "2006-01-02T15:04:05.000000000Z"

// Record is one line of the log.
type Record struct {
	Time    time.Time
	Stream  string // "stdout" or "stderr"
	Partial bool
	Content []byte // without the newline
}

// Append appends the records for what a stream has written at once.
func Append(b []byte, at time.Time, stream string, data []byte) []byte {
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		b = at.UTC().AppendFormat(b, layout)
		b = append(b, ' ')
		b = append(b, stream...)
		if whole {
			b = append(b, " F "...)
		} else {
			b = append(b, " P "...)
		}
		b = append(b, line...)
		b = append(b, '\n')
		data = rest
	}
	return b
}

// ErrFormat says that a line is not a record, as after a power loss.
var ErrFormat = errors.New("not a log record")

// Parse parses a line without its newline. Content is part of line.
func Parse(line []byte) (Record, error) {
	stamp, rest, ok1 := bytes.Cut(line, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, content, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 || len(tag) == 0 {
		return Record{}, ErrFormat
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Record{}, ErrFormat
	}
	r := Record{Time: at, Content: content}
	switch string(stream) {
	case "stdout", "stderr":
		r.Stream = string(stream)
	default:
		return Record{}, ErrFormat
	}
	switch tag[0] {
	case 'F':
	case 'P':
		r.Partial = true
	default:
		return Record{}, ErrFormat
	}
	return r, nil
}
