package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/apitest"
	"github.com/edgeio/edgeio/control/api/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = "../openapi.json"

// start serves a fake and returns the base URL of its API.
func start(t *testing.T, f *apitest.Fake) string {
	t.Helper()
	srv := httptest.NewServer(server.Handler(f.Backend(), server.Options{Version: "test", Tier: "root", Name: "r", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}))
	t.Cleanup(srv.Close)
	return srv.URL + api.Prefix
}

// ask makes a request with the good token, unless header says otherwise, and
// returns the answer with its body.
func ask(t *testing.T, method, url string, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apitest.Token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestOpenAPI(t *testing.T) {
	resp, body := ask(t, "GET", start(t, apitest.New())+"/openapi.json", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), pretty.String()); d != "" {
		t.Errorf("the API has changed; if that is meant, run the test with -update (-committed +now):\n%s", d)
	}
}
