package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/apitest"
)

const (
	hello = "api_version: v0.1\njob_name: hello\nimage: /bin/sleep\nimage_runtime: native\n"
	box   = `{"api_version": "v0.1", "job_name": "box", "image": "debian", "image_runtime": "lxc"}`
)

func TestRequests(t *testing.T) {
	base := start(t, apitest.New())
	for _, f := range []string{hello, box} {
		if resp, body := ask(t, "POST", base+"/jobs", f); resp.StatusCode != http.StatusCreated {
			t.Fatalf("status %d: %s", resp.StatusCode, body)
		}
	}
	huge := "job_name: " + strings.Repeat("x", 2<<20)
	for _, tt := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string // in the body
	}{
		{"GET", "/healthz", "", []string{"Authorization", ""}, 200, "ok"},
		{"GET", "/jobs", "", []string{"Authorization", ""}, 401, "Bearer TOKEN"},
		{"GET", "/jobs", "", []string{"Authorization", "Bearer wrong"}, 401, "not good"},
		{"GET", "/jobs", "", []string{"Authorization", "Basic " + apitest.Token}, 401, "Bearer TOKEN"},
		{"GET", "/jobs", "", []string{"Authorization", "Bearer " + apitest.Viewer}, 403, "viewer"},
		{"GET", "/openapi.json", "", []string{"Authorization", ""}, 401, ""},
		{"GET", "/nothing", "", []string{"Authorization", ""}, 401, ""},
		{"GET", "/nothing", "", nil, 404, "/nothing"},
		{"PATCH", "/jobs", "", nil, 405, "allowed: "},

		{"POST", "/jobs", hello, []string{"Content-Type", "application/yaml"}, 201, `"state":"RUNNING"`},
		{"POST", "/jobs", box, []string{"Content-Type", "application/json; charset=utf-8"}, 201, `"NOT_DEPLOYABLE"`},
		{"POST", "/jobs", hello, []string{"Content-Type", "application/x-www-form-urlencoded"}, 201, ""},
		{"POST", "/jobs", hello, []string{"Content-Type", "image/png"}, 415, "image/png"},
		{"POST", "/jobs", hello, []string{"Content-Type", ";;"}, 415, ""},
		{"POST", "/jobs", "", nil, 400, "body is required"},
		{"POST", "/jobs", "\x00\xff", nil, 422, `"line":1`},
		{"POST", "/jobs", huge, nil, 413, "too-large"},
		{"POST", "/jobs/validate", hello, nil, 200, `"kind":"service"`},
		{"POST", "/jobs/validate", "job_nam: x\n", nil, 422, `"column":1`},
		{"POST", "/jobs/explain", box, nil, 200, "no runtime lxc"},
		{"POST", "/jobs/explain", "a: [", nil, 422, ""},

		{"GET", "/jobs", "", nil, 200, `"name":"box"`},
		{"GET", "/jobs?state=RUNNING,FAILED&name=hello", "", nil, 200, `"name":"hello"`},
		{"GET", "/jobs?state=FINE", "", nil, 422, "FINE"},
		{"GET", "/jobs?colour=red", "", nil, 422, "query.colour"},
		{"GET", "/jobs/job0001", "", nil, 200, `"id":"job0001"`},
		{"GET", "/jobs/nope", "", nil, 404, "urn:edgeio:problem:not-found"},
		{"GET", "/jobs/job", "", nil, 409, "jobs match"},
		{"GET", "/jobs/" + strings.Repeat("x", 200), "", nil, 422, "path.id"},
		{"GET", "/jobs/job0002/explain", "", nil, 200, `"state":"NOT_DEPLOYABLE"`},
		{"GET", "/jobs/nope/explain", "", nil, 404, ""},
		{"DELETE", "/jobs/job0002", "", nil, 202, `"desired":"terminated"`},
		{"DELETE", "/jobs/job0002", "", nil, 202, `"TERMINATED"`},
		{"DELETE", "/jobs/nope", "", nil, 404, ""},

		{"GET", "/jobs/job0001/logs", "", nil, 200, "hello\noh\nbye\n"},
		{"GET", "/jobs/job0001/logs?tail=1", "", nil, 200, "bye\n"},
		{"GET", "/jobs/job0001/logs?tail=-2", "", nil, 422, "query.tail"},
		{"GET", "/jobs/job0001/logs?since=2026-01-31T12:00:01Z&instance=0", "", nil, 200, "oh\nbye\n"},
		{"GET", "/jobs/job0001/logs?since=yesterday", "", nil, 422, "10m"},
		{"GET", "/jobs/job0001/logs?instance=7", "", nil, 404, "instance"},
		{"GET", "/jobs/job0001/logs", "", []string{"Accept", "application/x-ndjson"}, 200, `"stream":"stderr","data":"b2gK"`},
		{"GET", "/jobs/nope/logs", "", nil, 404, ""},
		{"GET", "/jobs/job0001/exec", "", nil, 426, "WebSocket"},
		{"GET", "/jobs/nope/exec", "", nil, 404, ""},

		{"GET", "/jobs/job0001/events?follow=false", "", nil, 200, "id: 10\ndata: {\"revision\":10,"},
		{"GET", "/events?follow=false&after=40", "", nil, 200, "id: 50\n"},
		{"GET", "/events?follow=false", "", []string{"Last-Event-ID", "40"}, 200, "id: 50\n"},
		{"GET", "/events", "", []string{"Last-Event-ID", "x"}, 422, "revision"},
		{"GET", "/events?after=-1", "", nil, 422, "after"},
		{"GET", "/jobs/nope/events", "", nil, 404, ""},

		{"GET", "/clusters", "", nil, 200, `"name":"garching"`},
		{"GET", "/clusters/garching", "", nil, 200, `"id":"c1"`},
		{"GET", "/clusters/nope", "", nil, 404, ""},
		{"GET", "/nodes", "", nil, 200, `"name":"e580"`},
		{"GET", "/nodes?cluster=lab", "", nil, 200, `"nodes":[]`},
		{"GET", "/nodes?cluster=nope", "", nil, 404, "nope"},
		{"GET", "/nodes/e580", "", nil, 200, `"board":"Lenovo E580"`},
		{"GET", "/nodes/nope", "", nil, 404, ""},

		{"POST", "/tokens", `{"name":"bob"}`, nil, 201, `"role":"admin"`},
		{"POST", "/tokens", `{"name":"bob","role":"king"}`, nil, 422, "body.role"},
		{"POST", "/tokens", `{"name":" "}`, nil, 422, "name"},
		{"POST", "/tokens", `{"nam":"bob"}`, nil, 422, "body"},
		{"POST", "/tokens", `{`, nil, 400, "body"},
		{"POST", "/tokens", `{"name":"bob"}`, []string{"Content-Type", "text/plain"}, 415, ""},
		{"GET", "/tokens", "", nil, 200, `"name":"bob"`},
		{"DELETE", "/tokens/t10", "", nil, 204, ""},
		{"DELETE", "/tokens/t10", "", nil, 404, ""},
		{"POST", "/join-tokens", `{"kind":"node"}`, nil, 201, `"uses":1`},
		{"POST", "/join-tokens", `{"kind":"node","uses":0,"ttl_seconds":60}`, nil, 201, `"uses":0`},
		{"POST", "/join-tokens", `{"kind":"node","uses":-1}`, nil, 422, "body.uses"},
		{"POST", "/join-tokens", `{"kind":"cluster","cluster":"garching"}`, nil, 422, "only a node"},
		{"POST", "/join-tokens", `{"kind":"satellite"}`, nil, 422, "body.kind"},
		{"GET", "/join-tokens", "", nil, 200, `"expires_at":"2026-01-31T13:00:00Z"`},
		{"DELETE", "/join-tokens/j10", "", nil, 204, ""},
		{"DELETE", "/join-tokens/j99", "", nil, 404, ""},

		{"GET", "/version", "", nil, 200, `"tier":"root"`},
		{"GET", "/schema/job.json", "", nil, 200, `"api_version"`},
	} {
		t.Run(fmt.Sprint(tt.method, tt.path, tt.header), func(t *testing.T) {
			resp, body := ask(t, tt.method, base+tt.path, tt.body, tt.header...)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Fatalf("status %d, want %d, with %q:\n%s", resp.StatusCode, tt.status, tt.want, body)
			}
			if tt.status < 400 {
				return
			}
			var p api.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("not a problem (%v, %s): %s", err, resp.Header.Get("Content-Type"), body)
			}
			if p.Status != tt.status || !strings.HasPrefix(p.Type, "urn:edgeio:problem:") || p.Title == "" || p.Detail == "" {
				t.Errorf("incomplete problem: %s", body)
			}
			if strings.Contains(body, apitest.Token) {
				t.Error("the token is in the answer")
			}
		})
	}
}

func TestJobFaults(t *testing.T) {
	_, body := ask(t, "POST", start(t, apitest.New())+"/jobs", "api_version: v0.1\njob_nam: x\nimage_runtime: natif\n")
	var p api.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Errors) < 3 { // the two, and what is missing
		t.Errorf("not all faults are told: %s", body)
	}
	for _, e := range p.Errors {
		if e.Line == 0 || e.Column == 0 || e.Message == "" {
			t.Errorf("a fault without its place: %+v", e)
		}
	}
}

func TestIdempotency(t *testing.T) {
	base := start(t, apitest.New())
	var ids []string
	for range 2 {
		resp, body := ask(t, "POST", base+"/jobs", hello, "Idempotency-Key", "k")
		var j api.Job
		if err := json.Unmarshal([]byte(body), &j); err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Location"); got != "/api/v1/jobs/"+j.ID {
			t.Errorf("Location %q", got)
		}
		ids = append(ids, j.ID)
	}
	if ids[0] != ids[1] {
		t.Errorf("deployed twice: %v", ids)
	}
	if resp, _ := ask(t, "POST", base+"/jobs", box, "Idempotency-Key", "k"); resp.StatusCode != http.StatusConflict {
		t.Errorf("status %d for another job with the same key", resp.StatusCode)
	}
}

func TestPanic(t *testing.T) {
	f := apitest.New()
	f.Panic = true
	resp, body := ask(t, "GET", start(t, f)+"/jobs", "")
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "secret") || !strings.Contains(body, "problem:internal") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

func TestLogBreaksOff(t *testing.T) {
	f := apitest.New()
	f.LogError = fmt.Errorf("%w: node e580 does not answer", api.ErrUnavailable)
	base := start(t, f)
	ask(t, "POST", base+"/jobs", hello)
	_, body := ask(t, "GET", base+"/jobs/hello/logs", "", "Accept", "application/x-ndjson")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	var last api.LogLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Problem == nil || !errors.Is(last.Problem, api.ErrUnavailable) {
		t.Errorf("the end of %s is not the problem (%v)", body, err)
	}
	f.Log = nil // now nothing comes before the error
	if resp, body := ask(t, "GET", base+"/jobs/hello/logs", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	f.LogError = errors.New("secret detail")
	if resp, body := ask(t, "GET", base+"/jobs/hello/logs", ""); resp.StatusCode != 500 || strings.Contains(body, "secret") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

func TestEventsResume(t *testing.T) {
	base := start(t, apitest.New())
	ask(t, "POST", base+"/jobs", hello)
	_, all := ask(t, "GET", base+"/events?follow=false", "")
	_, rest := ask(t, "GET", base+"/events?follow=false", "", "Last-Event-ID", "20")
	_, after, found := strings.Cut(all, "id: 20\n")
	if !found {
		t.Fatal(all)
	}
	_, after, _ = strings.Cut(after, "\n\n")
	if d := cmp.Diff(": edgeIO\n\n"+after, rest); d != "" {
		t.Error(d)
	}
}
