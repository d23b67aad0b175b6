package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxSSE bounds one event of a stream.
const maxSSE = 1 << 20

// sseEvent is one event of a stream of server-sent events.
type sseEvent struct {
	name string
	data []byte
}

// readSSE calls yield with each event of a stream by the WHATWG's HTML
// standard, 9.2.6, until its end. Comments and ids are skipped: our events
// have their revision in their data.
func readSSE(r io.Reader, yield func(sseEvent) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxSSE)
	var ev sseEvent
	var size int
	for sc.Scan() {
		line := bytes.TrimSuffix(sc.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if ev.data != nil {
				if err := yield(ev); err != nil {
					return err
				}
			}
			ev, size = sseEvent{}, 0
			continue
		}
		if size += len(line); size > maxSSE {
			return fmt.Errorf("event of more than %d bytes", maxSSE)
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			ev.name = string(value)
		case "data":
			if ev.data != nil {
				ev.data = append(ev.data, '\n')
			}
			ev.data = append(ev.data, value...)
			if ev.data == nil {
				ev.data = []byte{}
			}
		}
	}
	return sc.Err()
}
