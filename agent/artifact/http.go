package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// stallTimeout ends a download that gets nothing for so long.
const stallTimeout = time.Minute

// httpSource is a URL.
type httpSource struct {
	c   *Cache
	url *url.URL
}

func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       30 * time.Second,
			ForceAttemptHTTP2:     true,
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return fmt.Errorf("redirected from https to %s", req.URL.Redacted())
	}
	return nil
}

// newHTTP takes plain HTTP only where nobody can change the content unseen.
func (c *Cache) newHTTP(reference, sha256 string) (source, error) {
	u, err := url.Parse(reference)
	if err != nil || u.Hostname() == "" {
		return nil, classed(drivers.ErrInvalid, "it is not a URL with a host")
	}
	if u.User != nil {
		return nil, classed(drivers.ErrInvalid, "the URL contains credentials; put them in the agent's configuration")
	}
	if u.Scheme == "http" && sha256 == "" && !isLoopback(u.Hostname()) {
		return nil, classed(drivers.ErrInvalid, "http:// needs the image's checksum (sha256), since anybody on the way can change the content; give it, or use https://")
	}
	return httpSource{c, u}, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

func (s httpSource) fetch(ctx context.Context, image drivers.Image, report func(drivers.Progress)) (result, error) {
	known, isKnown := s.c.lookUp(image.Reference, "")
	if isKnown && image.SHA256 != "" && known.SHA256 != image.SHA256 {
		isKnown = false
	}
	digest, err := s.download(ctx, image, known.ETag, isKnown, report)
	if isKnown && errors.Is(err, drivers.ErrUnavailable) {
		s.c.log.Warn("image source is out of reach, the cached content is used", "image", image.Reference, "err", err)
		digest, err = known.SHA256, nil
	}
	return result{digest: digest}, err
}

// download gets the content, or finds that what is cached is still what the server has.
func (s httpSource) download(ctx context.Context, image drivers.Image, etag string, isKnown bool, report func(drivers.Progress)) (digest string, err error) {
	p, err := s.c.openPartial(ctx, refKey(image.Reference, ""))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.finish(err)) }()
	if image.SHA256 != "" && s.c.has(image.SHA256) {
		return image.SHA256, nil // another process has got it while we waited
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := s.get(ctx, p, etag, isKnown)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	if resp.StatusCode == http.StatusNotModified && isKnown {
		known, _ := s.c.lookUp(image.Reference, "")
		return known.SHA256, nil
	}
	total, err := s.position(p, resp)
	if err != nil {
		return "", err
	}
	digest, err = s.c.receive(ctx, p, watch(resp.Body, cancel), total, report)
	if err != nil {
		return "", causeOf(ctx, err)
	}
	if image.SHA256 != "" && digest != image.SHA256 {
		return "", wrongChecksum(image.SHA256, digest)
	}
	if !s.c.has(digest) {
		if err := s.c.publish(ctx, digest, p.file.Name(), true, report); err != nil {
			return "", err
		}
	}
	return digest, s.c.remember(ref{Reference: image.Reference, SHA256: digest, ETag: resp.Header.Get("ETag")}, "")
}

func (s httpSource) get(ctx context.Context, p *partial, etag string, isKnown bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, classed(drivers.ErrInvalid, "%w", err)
	}
	req.Header.Set("Accept-Encoding", "identity") // the checksum is that of the file
	if cred, ok := s.c.cfg.Credentials[s.url.Host]; ok {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	switch {
	case p.size > 0 && p.validator != "":
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		req.Header.Set("If-Range", p.validator)
	case isKnown && etag != "":
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := s.c.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, classed(drivers.ErrUnavailable, "%w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
		return resp, nil
	case http.StatusRequestedRangeNotSatisfiable:
		err = p.restart("") // the next try begins anew
	}
	return nil, errors.Join(statusError(s.url.Host, resp.StatusCode), err, resp.Body.Close())
}

// position prepares the download for the body that comes and returns the size
// expected in the end, 0 if the server does not tell.
func (s httpSource) position(p *partial, resp *http.Response) (int64, error) {
	if resp.StatusCode == http.StatusPartialContent {
		var first, last, total int64
		_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
		if err != nil || first != p.size || total <= last {
			return 0, errors.Join(classed(drivers.ErrUnavailable, "the server sent another part than it was asked for"), p.restart(""))
		}
		return total, nil
	}
	if err := p.restart(validator(resp.Header)); err != nil {
		return 0, err
	}
	return max(resp.ContentLength, 0), nil
}

// validator returns what If-Range takes: a strong ETag or a date (RFC 9110 §13.1.5).
func validator(h http.Header) string {
	if etag := h.Get("ETag"); etag != "" && !strings.HasPrefix(etag, "W/") {
		return etag
	}
	return h.Get("Last-Modified")
}

func statusError(host string, status int) error {
	text := fmt.Sprintf("%s answers %d %s", host, status, http.StatusText(status))
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return classed(drivers.ErrDenied, "%s; check the credentials for %s in the agent's configuration", text, host)
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500,
		status == http.StatusRequestedRangeNotSatisfiable:
		return classed(drivers.ErrUnavailable, "%s", text)
	}
	return classed(drivers.ErrImage, "%s", text)
}

var errStalled = fmt.Errorf("nothing came for %s", stallTimeout)

// watch returns r with a time limit on each read: it ends the request.
func watch(r io.Reader, cancel context.CancelCauseFunc) io.Reader { return &watched{r, cancel} }

type watched struct {
	r      io.Reader
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	timer := time.AfterFunc(stallTimeout, func() { w.cancel(errStalled) })
	defer timer.Stop()
	return w.r.Read(p)
}

// causeOf tells a stalled download from one that the caller has ended.
func causeOf(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return classed(drivers.ErrUnavailable, "%w", errStalled)
	}
	return err
}
