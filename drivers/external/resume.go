package external

import (
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// resumeSlack is how much earlier than the last entry a resumed log begins:
// entries of the two streams may be out of order by some time.
const resumeSlack = 2 * time.Second

// place is how far a log has been passed on, so that it can be gone on with
// from another connection without loss and without duplicates. It counts bytes
// and not entries: those may be divided otherwise the next time.
//
// It relies on each stream's times not running backwards, and on a driver that
// gives the same times again. A step of the clock meanwhile breaks the first.
type place struct {
	wanted  drivers.LogOptions
	began   time.Time // when the log was asked for
	first   time.Time // of what was passed on; older entries were not wanted
	streams map[drivers.Stream]*mark
	resumed bool
}

// mark is how far one stream is.
type mark struct {
	last time.Time
	at   int // bytes passed on that were written at last
	skip int // of those, what is still to come again
}

func newPlace(o drivers.LogOptions, now time.Time) *place {
	return &place{wanted: o, began: now, streams: map[drivers.Stream]*mark{}}
}

// options returns what to ask the driver for now.
func (p *place) options() drivers.LogOptions {
	o := p.wanted
	switch {
	case !p.resumed:
	case len(p.streams) == 0:
		// Nothing has come yet. What is written from the beginning on is wanted
		// in any case; a tail of lines from before has to be asked for again.
		if o.Tail == 0 {
			o.Tail = -1
			if p.began.After(o.Since) {
				o.Since = p.began
			}
		}
	default:
		oldest := time.Time{}
		for _, m := range p.streams {
			if oldest.IsZero() || m.last.Before(oldest) {
				oldest = m.last
			}
		}
		o.Tail = -1
		if since := oldest.Add(-resumeSlack); since.After(o.Since) {
			o.Since = since
		}
	}
	return o
}

// resume notes that the log is asked for again.
func (p *place) resume() {
	p.resumed = true
	for _, m := range p.streams {
		m.skip = m.at
	}
}

// pass returns the part of an entry that has not been passed on before, if
// there is one, and takes it as passed on.
func (p *place) pass(e drivers.LogEntry) (drivers.LogEntry, bool) {
	if p.first.IsZero() {
		p.first = e.Time
	}
	m := p.streams[e.Stream]
	switch {
	case p.resumed && e.Time.Before(p.first):
		return e, false
	case m == nil:
		m = &mark{last: e.Time}
		p.streams[e.Stream] = m
	case p.resumed && e.Time.Before(m.last):
		return e, false
	case !e.Time.Equal(m.last):
		*m = mark{last: e.Time}
	}
	if m.skip > 0 {
		known := min(m.skip, len(e.Data))
		m.skip -= known
		if e.Data = e.Data[known:]; len(e.Data) == 0 {
			return e, false
		}
	}
	m.at += len(e.Data)
	return e, true
}
