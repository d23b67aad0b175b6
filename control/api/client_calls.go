package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/edgeio/edgeio/proto/job"
)

// yamlType is what job files are sent as; JSON is YAML, too.
const yamlType = "application/yaml"

// A ref names something by its id, its unique name or the unique beginning of
// its id.

func jobPath(ref string) string { return "/jobs/" + url.PathEscape(ref) }

// Deploy posts a job file, YAML or JSON. With the same non-empty idempotency
// key it can be repeated without deploying twice.
func (c *Client) Deploy(ctx context.Context, file []byte, idempotencyKey string) (j Job, err error) {
	r := request{method: http.MethodPost, path: "/jobs", body: file, contentType: yamlType, header: http.Header{}}
	if idempotencyKey != "" {
		r.header.Set("Idempotency-Key", idempotencyKey)
	}
	err = c.call(ctx, r, &j)
	return j, err
}

// Validate checks a job file at the server; what is wrong is in the Errors of
// the *Problem.
func (c *Client) Validate(ctx context.Context, file []byte) (job.Job, error) {
	var v ValidJob
	err := c.call(ctx, request{method: http.MethodPost, path: "/jobs/validate", body: file, contentType: yamlType}, &v)
	return v.Job, err
}

// JobQuery selects jobs; empty fields select all.
type JobQuery struct {
	States []job.State
	Name   string
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, q JobQuery) ([]Job, error) {
	v := url.Values{}
	for _, s := range q.States {
		v.Add("state", string(s))
	}
	if q.Name != "" {
		v.Set("name", q.Name)
	}
	var l JobList
	err := c.get(ctx, "/jobs", v, &l)
	return l.Jobs, err
}

// Job returns a job.
func (c *Client) Job(ctx context.Context, ref string) (j Job, err error) {
	err = c.get(ctx, jobPath(ref), nil, &j)
	return j, err
}

// Terminate wants a job ended; it does not wait until it is. It may be repeated.
func (c *Client) Terminate(ctx context.Context, ref string) (j Job, err error) {
	err = c.delete(ctx, jobPath(ref), &j)
	return j, err
}

// Explain asks who would take a job that is deployed.
func (c *Client) Explain(ctx context.Context, ref string) (e Explanation, err error) {
	err = c.get(ctx, jobPath(ref)+"/explain", nil, &e)
	return e, err
}

// ExplainFile asks who would take a job, and deploys nothing.
func (c *Client) ExplainFile(ctx context.Context, file []byte) (e Explanation, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: "/jobs/explain", body: file, contentType: yamlType}, &e)
	return e, err
}

// Clusters lists the clusters by name.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var l ClusterList
	err := c.get(ctx, "/clusters", nil, &l)
	return l.Clusters, err
}

// Cluster returns a cluster.
func (c *Client) Cluster(ctx context.Context, ref string) (cl Cluster, err error) {
	err = c.get(ctx, "/clusters/"+url.PathEscape(ref), nil, &cl)
	return cl, err
}

// Nodes lists the nodes by name: those of a cluster, or all if cluster is empty.
func (c *Client) Nodes(ctx context.Context, cluster string) ([]Node, error) {
	v := url.Values{}
	if cluster != "" {
		v.Set("cluster", cluster)
	}
	var l NodeList
	err := c.get(ctx, "/nodes", v, &l)
	return l.Nodes, err
}

// Node returns a node with its report.
func (c *Client) Node(ctx context.Context, ref string) (n Node, err error) {
	err = c.get(ctx, "/nodes/"+url.PathEscape(ref), nil, &n)
	return n, err
}

// CreateAPIToken makes a token for a user of the API.
func (c *Client) CreateAPIToken(ctx context.Context, t NewAPIToken) (out CreatedAPIToken, err error) {
	err = c.post(ctx, "/tokens", t, &out)
	return out, err
}

// APITokens lists the API tokens that are good.
func (c *Client) APITokens(ctx context.Context) ([]APIToken, error) {
	var l APITokenList
	err := c.get(ctx, "/tokens", nil, &l)
	return l.Tokens, err
}

// RevokeAPIToken makes an API token worthless. It may be repeated.
func (c *Client) RevokeAPIToken(ctx context.Context, id string) error {
	return c.delete(ctx, "/tokens/"+url.PathEscape(id), nil)
}

// CreateJoinToken makes a token with which a cluster or a node joins.
func (c *Client) CreateJoinToken(ctx context.Context, t NewJoinToken) (out CreatedJoinToken, err error) {
	err = c.post(ctx, "/join-tokens", t, &out)
	return out, err
}

// JoinTokens lists the join tokens that are good.
func (c *Client) JoinTokens(ctx context.Context) ([]JoinToken, error) {
	var l JoinTokenList
	err := c.get(ctx, "/join-tokens", nil, &l)
	return l.Tokens, err
}

// RevokeJoinToken makes a join token worthless; who has joined with it stays.
// It may be repeated.
func (c *Client) RevokeJoinToken(ctx context.Context, id string) error {
	return c.delete(ctx, "/join-tokens/"+url.PathEscape(id), nil)
}

// Version tells who answers.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	err = c.get(ctx, "/version", nil, &v)
	return v, err
}
