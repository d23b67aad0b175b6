package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config says where the API is and who asks.
type Config struct {
	// Addresses are tried in order until one can be connected to: host:port, or
	// a URL with scheme https. At least one.
	Addresses []string
	// AuthorityPEM are the certificates that the server's must come from;
	// empty: those that the system trusts.
	AuthorityPEM []byte
	// Token is the API token.
	Token string
	// UserAgent is sent with each request; may be empty.
	UserAgent string
}

// Client calls the API. Its methods may be called concurrently. Their errors
// are *Problem if the server answered with one, else wrap ErrUnavailable when
// it could not be reached or broke off, or the error of the context.
type Client struct {
	bases []*url.URL
	good  atomic.Int64 // index of the base that answered last
	token string
	agent string
	http  *http.Client
}

// New makes a client. It does not connect.
func New(c Config) (*Client, error) {
	if len(c.Addresses) == 0 {
		return nil, fmt.Errorf("%w: no address of an edgeIO server", ErrInvalid)
	}
	cl := &Client{token: c.Token, agent: c.UserAgent}
	for _, a := range c.Addresses {
		u, err := parseAddress(a)
		if err != nil {
			return nil, err
		}
		cl.bases = append(cl.bases, u)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	if len(c.AuthorityPEM) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(c.AuthorityPEM) {
			return nil, fmt.Errorf("%w: the authority is not a certificate in PEM form", ErrInvalid)
		}
	}
	// HTTP/2 is left out: streams and exec each want a connection of their own.
	cl.http = &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
	}}
	return cl, nil
}

// Close closes connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// parseAddress accepts host:port and URLs.
func parseAddress(a string) (*url.URL, error) {
	if !strings.Contains(a, "://") {
		a = "https://" + a
	}
	u, err := url.Parse(strings.TrimSuffix(a, "/"))
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: address %q: want https://host:port", ErrInvalid, a)
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("%w: address %q: only https is spoken, for the token must stay secret", ErrInvalid, a)
	}
	return u, nil
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	contentType  string
}

// send makes a request of the first server that can be connected to, and turns
// an answer that is an error into one. The caller closes the body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var errs []error
	start := int(c.good.Load())
	for i := range c.bases {
		n := (start + i) % len(c.bases)
		resp, err := c.sendTo(ctx, c.bases[n], r)
		if err == nil {
			c.good.Store(int64(n))
			return resp, problemOf(resp)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, ctx.Err())
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.bases[n].Host, plain(err)))
		if !notSent(err) {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
}

func (c *Client) sendTo(ctx context.Context, base *url.URL, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(base, r), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	c.authorize(req.Header)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	return c.http.Do(req)
}

func (c *Client) url(base *url.URL, r request) string {
	u := base.JoinPath(Prefix, r.path)
	u.RawQuery = r.query.Encode()
	return u.String()
}

func (c *Client) authorize(h http.Header) {
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	if c.agent != "" {
		h.Set("User-Agent", c.agent)
	}
}

// notSent reports whether a request cannot have reached a server, so that
// another one may be asked.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// plain takes the method and URL off the front of an error of net/http, and
// says what to do about the one fault that is common at the first try.
func plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("its certificate comes from an authority that is not the configured one: %w", err)
	}
	return err
}

// problemOf reads the problem that a server answered with, and closes its body.
func problemOf(resp *http.Response) error {
	if resp.StatusCode < 400 {
		return nil
	}
	defer resp.Body.Close()
	p := &Problem{}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, p) != nil {
		p.Title = http.StatusText(resp.StatusCode)
		p.Detail = fmt.Sprintf("the server answered %s, not as edgeIO does; is the address right?", resp.Status)
	}
	p.Status = resp.StatusCode
	return p
}

// call sends a request and decodes the answer into out, if that is not nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: answer to %s %s: %w", ErrUnavailable, r.method, r.path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, out)
}

// post sends in as JSON.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.call(ctx, request{method: http.MethodPost, path: path, body: body, contentType: "application/json"}, out)
}

func (c *Client) delete(ctx context.Context, path string, out any) error {
	return c.call(ctx, request{method: http.MethodDelete, path: path}, out)
}
