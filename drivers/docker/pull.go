package docker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeio/edgeio/drivers"
)

// progressInterval is the least time between two signs of progress in one phase.
const progressInterval = 100 * time.Millisecond

var errSilent = errors.New("no progress")

// pull fetches an image. patience bounds the time until the registry begins to
// answer; zero leaves that to PullIdleTimeout.
func (d *Driver) pull(ctx context.Context, op, id string, w wanted, patience time.Duration, progress func(drivers.Progress)) error {
	auth, err := d.auth.header(w.named)
	if err != nil {
		return drivers.Errorf(drivers.ErrDenied, op, id, "fetch image %s: %w", w.reference, err)
	}
	opts := client.ImagePullOptions{RegistryAuth: auth}
	if w.arch != "" {
		opts.Platforms = []ocispec.Platform{{OS: "linux", Architecture: w.arch}}
	}
	if patience == 0 {
		patience = d.cfg.PullIdleTimeout
	}

	pullCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer idle.Stop()

	err = func() error {
		stream, err := d.api.Load().ImagePull(pullCtx, w.named.String(), opts)
		if err != nil {
			return err
		}
		sum := newPullSum()
		var last drivers.Progress
		var lastAt time.Time
		for msg, err := range stream.JSONMessages(pullCtx) {
			if err != nil {
				return err
			}
			idle.Reset(d.cfg.PullIdleTimeout)
			if msg.Error != nil {
				return msg.Error
			}
			p := sum.add(msg)
			if progress != nil && (p.Phase != last.Phase || p != last && time.Since(lastAt) >= progressInterval) {
				last, lastAt = p, time.Now()
				progress(p)
			}
		}
		return nil
	}()
	switch {
	case err == nil && pullCtx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		return d.fail(ctx, op, id, ctx.Err())
	case errors.Is(context.Cause(pullCtx), errSilent):
		return drivers.Errorf(drivers.ErrImage, op, id, "fetch image %s: registry %s shows no progress: check that this node reaches it%w",
			w.reference, reference.Domain(w.named), passing{})
	}
	return pullError(op, id, w, err)
}

// pullError says in the user's terms why an image could not be fetched. The
// daemon passes on the registry's words with few distinctions in codes.
func pullError(op, id string, w wanted, err error) error {
	host := reference.Domain(w.named)
	text := strings.ToLower(err.Error())
	says := func(words ...string) bool {
		for _, s := range words {
			if strings.Contains(text, s) {
				return true
			}
		}
		return false
	}
	class, what := drivers.ErrImage, ""
	switch {
	case classOf(err) == drivers.ErrExhausted:
		class, what = drivers.ErrExhausted, "this node has no room left for it"
	case client.IsErrConnectionFailed(err):
		class, what = drivers.ErrUnavailable, "the daemon went away"
	case says("no matching manifest"):
		what = "the registry has it for other architectures only"
	case says("manifest unknown", "not found", "name unknown", "repository name not known"):
		what = "the registry " + host + " does not have it; check name and tag"
	case says("unauthorized", "denied", "no basic auth credentials", "authentication required"):
		class, what = drivers.ErrDenied, "the registry "+host+" does not hand it out without (other) credentials, or does not have it"
	case says("server gave http response to https client"):
		what = "the registry " + host + " has no TLS; the daemon must list it under insecure-registries"
	case says("connection refused", "no such host", "timeout", "network is unreachable", "no route to host",
		"server misbehaving", "name resolution", "deadline exceeded", "awaiting headers", "tls", "x509", "eof"):
		what = "the registry " + host + " cannot be reached"
		err = passing{err}
	default:
		what = "the registry " + host + " did not deliver it"
	}
	return drivers.Errorf(class, op, id, "fetch image %s: %s: %w", w.reference, what, plain(err))
}

// passing is trouble with an image that may be over soon: the class that says so
// is added to that of the error around it.
type passing struct{ error }

func (p passing) Error() string {
	if p.error == nil {
		return ""
	}
	return plain(p.error).Error()
}

func (p passing) Unwrap() []error { return []error{drivers.ErrUnavailable, p.error} }

// pullSum adds up the progress of an image's layers.
type pullSum struct {
	layers map[string]*layer
}

type layer struct {
	total             int64 // 0 while unknown
	fetched, unpacked int64
	fetchDone         bool
}

func newPullSum() *pullSum { return &pullSum{layers: map[string]*layer{}} }

// add takes in one message of the daemon and returns where the whole pull is.
// The texts are those of the daemon's distribution package; unknown ones do no harm.
func (s *pullSum) add(msg jsonstream.Message) drivers.Progress {
	if msg.ID != "" {
		s.addLayer(msg)
	}
	return s.progress()
}

func (s *pullSum) addLayer(msg jsonstream.Message) {
	l := s.layers[msg.ID]
	if l == nil {
		if msg.Status != "Pulling fs layer" && msg.Status != "Already exists" && msg.Progress == nil {
			return // about the image as a whole: its id is a tag
		}
		l = &layer{}
		s.layers[msg.ID] = l
	}
	switch msg.Status {
	case "Downloading":
		if msg.Progress != nil {
			l.fetched, l.total = msg.Progress.Current, max(l.total, msg.Progress.Total)
		}
	case "Verifying Checksum", "Download complete":
		l.fetchDone, l.fetched = true, l.total
	case "Extracting":
		l.fetchDone = true
		if msg.Progress != nil {
			l.unpacked, l.total = msg.Progress.Current, max(l.total, msg.Progress.Total)
		}
		l.fetched = l.total
	case "Pull complete", "Already exists":
		l.fetchDone = true
		l.fetched, l.unpacked = l.total, l.total
	}
}

func (s *pullSum) progress() drivers.Progress {
	var fetched, unpacked, total int64
	known, fetching := true, len(s.layers) == 0
	for _, l := range s.layers {
		fetched += l.fetched
		unpacked += l.unpacked
		total += l.total
		known = known && (l.total > 0 || l.fetchDone)
		fetching = fetching || !l.fetchDone
	}
	if !known {
		total = 0
	}
	if fetching {
		return drivers.Progress{Phase: "pulling", Current: fetched, Total: total}
	}
	return drivers.Progress{Phase: "unpacking", Current: unpacked, Total: total}
}
