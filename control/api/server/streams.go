package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/edgeio/edgeio/control/api"
)

type logsInput struct {
	JobRef
	Instance string `query:"instance" maxLength:"128" doc:"Which instance, if the job has several: its id, the beginning of it, or its index"`
	Follow   bool   `query:"follow" doc:"Go on until the instance ends"`
	Tail     int    `query:"tail" default:"-1" minimum:"-1" maximum:"1000000" doc:"Only this many of the last lines; -1: all"`
	Since    string `query:"since" doc:"Only what is newer: a time (RFC 3339), or how long ago (10m)"`
	Accept   string `header:"Accept" doc:"application/x-ndjson for an object per piece, with time and stream; else the bytes as they are"`
}

// EventsParams are the parameters of both streams of events. It is exported
// for reflection.
type EventsParams struct {
	After       uint64 `query:"after" doc:"Only events with a higher revision; 0: from the oldest that is kept"`
	New         bool   `query:"new" doc:"Only events to come"`
	Follow      bool   `query:"follow" default:"true" doc:"Go on with events to come; false: end after those that are kept"`
	LastEventID string `header:"Last-Event-ID" doc:"Goes on after this one; sent by browsers that connect again. Stronger than after and new"`
}

type jobEventsInput struct {
	JobRef
	EventsParams
}

func (s *service) registerStreams(h huma.API) {
	huma.Register(h, streamOp(huma.Operation{
		OperationID: "get-job-logs", Method: http.MethodGet, Path: "/jobs/{id}/logs", Tags: []string{"jobs"},
		Summary:     "Read the output of a job",
		Description: "If the stream breaks off, the connection is closed without a proper end; NDJSON ends with an object that has a problem instead.",
	}, "text/plain", "application/x-ndjson"), s.logs)
	huma.Register(h, streamOp(huma.Operation{
		OperationID: "watch-job", Method: http.MethodGet, Path: "/jobs/{id}/events", Tags: []string{"events"},
		Summary: "Watch a job", Description: eventsText,
	}, "text/event-stream"), func(ctx context.Context, in *jobEventsInput) (*huma.StreamResponse, error) {
		j, err := s.Jobs.Job(ctx, in.ID)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return s.events(ctx, j.ID, in.EventsParams)
	})
	huma.Register(h, streamOp(huma.Operation{
		OperationID: "watch", Method: http.MethodGet, Path: "/events", Tags: []string{"events"},
		Summary: "Watch everything", Description: eventsText,
	}, "text/event-stream"), func(ctx context.Context, in *EventsParams) (*huma.StreamResponse, error) {
		return s.events(ctx, "", *in)
	})
}

const eventsText = "Server-sent events. The data of each is an Event, its id the revision. Comments are signs of life. An event named problem ends a stream that breaks off."

func (s *service) events(ctx context.Context, jobID string, p EventsParams) (*huma.StreamResponse, error) {
	q := EventQuery{JobID: jobID, After: p.After, NewOnly: p.New, Follow: p.Follow}
	if p.LastEventID != "" {
		rev, err := strconv.ParseUint(p.LastEventID, 10, 64)
		if err != nil {
			return nil, s.fail(ctx, classError{api.ErrInvalid, fmt.Sprintf("Last-Event-ID %q is not a revision", p.LastEventID)})
		}
		q.After, q.NewOnly = rev, false
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		s.sendEvents(w, r, q)
	}}, nil
}

// sendEvents answers with events until the watch, the client or the server ends.
func (s *service) sendEvents(w http.ResponseWriter, r *http.Request, q EventQuery) {
	ctx, cancel := streamContext(r)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must pass events on at once
	out := newStream(w)
	defer out.close()
	out.write([]byte(": edgeIO\n\n"))
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		beat(ctx, out, cancel)
	}()
	err := s.Events.Watch(ctx, q, func(ev api.Event) error {
		data, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("encode event %d: %w", ev.Revision, err)
		}
		return out.write(fmt.Appendf(nil, "id: %d\ndata: %s\n\n", ev.Revision, data))
	})
	over := ctx.Err() != nil
	cancel()
	<-beating
	if err != nil && !over {
		p, _ := json.Marshal(s.problemOf(r.Context(), err)) // a struct of strings and numbers
		out.write(fmt.Appendf(nil, "event: problem\ndata: %s\n\n", p))
	}
}

// beat writes comments, so that proxies keep the connection and both ends
// notice when it is gone.
func beat(ctx context.Context, out *stream, cancel context.CancelFunc) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if out.write([]byte(":\n\n")) != nil {
				cancel()
				return
			}
		}
	}
}

func (s *service) logs(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
	o := LogOptions{Follow: in.Follow, Tail: in.Tail}
	var err error
	if o.Since, err = parseSince(in.Since, time.Now()); err != nil {
		return nil, s.fail(ctx, err)
	}
	inst, err := s.instance(ctx, in.ID, in.Instance)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	format := plainLog
	if strings.Contains(in.Accept, "application/x-ndjson") {
		format = jsonLog
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		s.sendLogs(w, r, inst, o, format)
	}}, nil
}

// logFormat is how a log is written.
type logFormat struct {
	contentType string
	encode      func(api.LogLine) ([]byte, error)
}

var (
	plainLog = logFormat{"text/plain; charset=utf-8", func(l api.LogLine) ([]byte, error) { return l.Data, nil }}
	jsonLog  = logFormat{"application/x-ndjson", func(l api.LogLine) ([]byte, error) {
		b, err := json.Marshal(l)
		return append(b, '\n'), err
	}}
)

// sendLogs answers with the output of an instance. The head of the answer waits
// for the first piece, so that an error before it has its proper status.
func (s *service) sendLogs(w http.ResponseWriter, r *http.Request, instance string, o LogOptions, f logFormat) {
	ctx, cancel := streamContext(r)
	defer cancel()
	out := newStream(w)
	begun := false
	err := s.Instances.Logs(ctx, instance, o, func(e api.LogEntry) error {
		if !begun {
			w.Header().Set("Content-Type", f.contentType)
			begun = true
		}
		b, err := f.encode(api.LogLine{LogEntry: e})
		if err != nil {
			return fmt.Errorf("encode log: %w", err)
		}
		return out.write(b)
	})
	defer out.close()
	switch {
	case err == nil && !begun:
		w.Header().Set("Content-Type", f.contentType)
	case err == nil || ctx.Err() != nil:
	case !begun:
		writeProblem(w, s.problemOf(r.Context(), err))
	case f.contentType == jsonLog.contentType:
		b, _ := json.Marshal(struct { // of strings and numbers
			Problem *api.Problem `json:"problem"`
		}{s.problemOf(r.Context(), err)})
		out.write(append(b, '\n'))
	default:
		s.Log.Warn("log stream broke off", "instance", instance, "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for the end
	}
}

// parseSince accepts a time, or how long ago that was.
func parseSince(v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, classError{api.ErrInvalid, fmt.Sprintf("since %q: want a time like 2026-01-31T15:04:05Z, or how long ago, like 10m", v)}
}

// instance finds which instance of a job is meant: ref is its id, index, or the
// beginning of its id; empty is the only one.
func (s *service) instance(ctx context.Context, jobRef, ref string) (string, error) {
	j, err := s.Jobs.Job(ctx, jobRef)
	if err != nil {
		return "", err
	}
	if ref == "" {
		switch len(j.Instances) {
		case 0:
			return "", classError{api.ErrConflict, "job " + j.Name + " has no instance yet; its state is " + string(j.State)}
		case 1:
			return j.Instances[0].ID, nil
		}
		return "", classError{api.ErrInvalid, fmt.Sprintf("job %s has %d instances; say which one, 0 to %d", j.Name, len(j.Instances), len(j.Instances)-1)}
	}
	inst, err := api.Resolve("instance", ref, j.Instances, func(i api.Instance) (id, name string) {
		return i.ID, strconv.Itoa(i.Index)
	}, nil)
	return inst.ID, err
}
