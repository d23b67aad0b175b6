package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LogQuery selects a part of the output of a job.
type LogQuery struct {
	Instance string // id or index; empty: the only one
	Follow   bool
	Tail     int       // last entries; negative: all
	Since    time.Time // zero: from the beginning
}

// Logs calls yield with the output of a job until its end, with Follow until
// the instance ends or ctx does.
func (c *Client) Logs(ctx context.Context, ref string, q LogQuery, yield func(LogEntry) error) error {
	v := url.Values{"tail": {strconv.Itoa(q.Tail)}, "follow": {strconv.FormatBool(q.Follow)}}
	if q.Instance != "" {
		v.Set("instance", q.Instance)
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	resp, err := c.send(ctx, request{
		method: http.MethodGet, path: jobPath(ref) + "/logs", query: v,
		header: http.Header{"Accept": {"application/x-ndjson"}},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var l LogLine
		switch err := dec.Decode(&l); {
		case err == io.EOF:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: the log stream of job %s broke off: %w", ErrUnavailable, ref, err)
		case l.Problem != nil:
			return l.Problem
		}
		if err := yield(l.LogEntry); err != nil {
			return err
		}
	}
}

// EventQuery selects events.
type EventQuery struct {
	Job     string // ref; empty: of all jobs
	After   uint64 // revision; 0: from the oldest that is kept
	NewOnly bool   // none that are stored already
	Follow  bool   // those to come as well, until ctx ends
}

// Events calls yield with each event in the order of the revisions. With Follow it
// connects again by itself, without a gap, when the connection is lost, and
// returns only with an error: of yield, of ctx, or a *Problem. (NewOnly cannot
// see what happens between two connections before the first event.)
func (c *Client) Events(ctx context.Context, q EventQuery, yield func(Event) error) error {
	var stop error // of yield: ends everything
	worked := false
	wait := reconnectMin
	for {
		err := c.events(ctx, q, &worked, func(ev Event) error {
			q.After, q.NewOnly = ev.Revision, false
			wait = reconnectMin
			stop = yield(ev)
			return stop
		})
		var p *Problem
		switch {
		case stop != nil:
			return stop
		case ctx.Err() != nil:
			return ctx.Err()
		case !q.Follow:
			return err
		case errors.As(err, &p) && !errors.Is(p, ErrUnavailable):
			return err
		case err != nil && !worked:
			return err // the first try must not hide what is wrong
		}
		if err := sleep(ctx, rand.N(wait)); err != nil {
			return err
		}
		wait = min(2*wait, reconnectMax)
	}
}

// Bounds of the pause before a stream of events is asked for again.
const (
	reconnectMin = 200 * time.Millisecond
	reconnectMax = 10 * time.Second
)

// events reads one stream to its end; it sets worked once the server has agreed.
func (c *Client) events(ctx context.Context, q EventQuery, worked *bool, yield func(Event) error) error {
	path := "/events"
	if q.Job != "" {
		path = jobPath(q.Job) + "/events"
	}
	resp, err := c.send(ctx, request{
		method: http.MethodGet, path: path,
		query: url.Values{
			"after":  {strconv.FormatUint(q.After, 10)},
			"new":    {strconv.FormatBool(q.NewOnly)},
			"follow": {strconv.FormatBool(q.Follow)},
		},
		header: http.Header{"Accept": {"text/event-stream"}},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	*worked = true
	err = readSSE(resp.Body, func(s sseEvent) error {
		if s.name == "problem" {
			p := &Problem{}
			if err := json.Unmarshal(s.data, p); err != nil {
				return fmt.Errorf("%w: the stream of events ended badly: %w", ErrUnavailable, err)
			}
			return p
		}
		var ev Event
		if err := json.Unmarshal(s.data, &ev); err != nil {
			return fmt.Errorf("%w: event: %w", ErrInternal, err)
		}
		return yield(ev)
	})
	if err != nil && !q.Follow && ctx.Err() == nil {
		return fmt.Errorf("%w: read events: %w", ErrUnavailable, err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
