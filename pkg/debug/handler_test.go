package debug_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/debug"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// fixture is a client that has worked, its page, and what it worked on.
type fixture struct {
	cluster  *onebox.Cluster
	client   *pegasus.Client
	recorder *debug.Recorder
	handler  *debug.Handler
}

func newFixture(t *testing.T, options ...pegasus.Option) *fixture {
	t.Helper()
	f := &fixture{cluster: onebox.New(t, onebox.Config{Network: memnet.New()}), recorder: debug.NewRecorder(0)}
	_, err := f.cluster.CreateTable("temp", onebox.TableOptions{Partitions: 2})
	require.NoError(t, err)
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	f.client, err = pegasus.Open(f.cluster.MetaAddresses(), append(options, pegasus.WithDialer(f.cluster.DialContext),
		pegasus.WithHooks(f.recorder.Hooks()),
		pegasus.WithHooks(pegasus.Hooks{RoutingInstalled: func(pegasus.RoutingInstalled) { tell() }}))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.client.Close()) })
	table, err := f.client.OpenTable(t.Context(), "temp")
	require.NoError(t, err)
	require.NoError(t, table.Set(t.Context(), []byte("key"), nil, []byte("value")))
	_, err = table.Get(t.Context(), []byte("another key"), nil)
	require.ErrorIs(t, err, pegasus.ErrNotFound)
	f.handler = debug.NewHandler(f.client, f.recorder)
	<-told // after the recorder was: most hooks are called some time after what they tell of
	return f
}

// get returns the answer to a request, with headers given as pairs.
func (f *fixture) get(t *testing.T, method, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, request)
	response := recorder.Result()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

var tags = regexp.MustCompile(`<[^>]*>`)

// rows returns the texts of a page's table rows, cells separated by single blanks.
func rows(page string) (texts []string) {
	for _, row := range strings.Split(page, "<tr")[1:] {
		row, _, _ = strings.Cut(row, "</tr>")
		texts = append(texts, strings.Join(strings.Fields(tags.ReplaceAllString("<tr"+row, " ")), " "))
	}
	return texts
}

func TestPage(t *testing.T) {
	f := newFixture(t)
	response, page := f.get(t, http.MethodGet, "/debug/bridle")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	require.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'")
	all := rows(page)
	require.Contains(t, all, "get 1 – – – 0 0 0 0 0")
	require.Contains(t, all, "set 1 – – – 0 0 0 0 0")
	require.Contains(t, all, "operation timeout 5s")
	require.Contains(t, all, "hedged reads off")
	require.NotContains(t, page, `id="troubles"`)
	require.Contains(t, all, "0 1 10.0.1.1:34801 10.0.1.2:34801, 10.0.1.3:34801 trusted")
	require.Contains(t, all, "1 1 10.0.1.2:34801 10.0.1.3:34801, 10.0.1.1:34801 trusted")
	require.Contains(t, all, f.cluster.Leader().Address()+" configured leader")
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "http-equiv")
	require.NotContains(t, page, "src=")
	require.NotContains(t, page, "ZgotmplZ", "html/template found something that it does not trust")

	_, page = f.get(t, http.MethodGet, "/debug/bridle?refresh=99999")
	require.Contains(t, page, `<meta http-equiv="refresh" content="3600">`)
	for _, refresh := range []string{"0", "-1", "x", `1"><script>`} {
		_, page = f.get(t, http.MethodGet, "/?refresh="+refresh)
		require.NotContains(t, page, "http-equiv")
		require.NotContains(t, page, "<script")
	}
	require.NoError(t, f.client.Close())
	response, _ = f.get(t, http.MethodGet, "/")
	require.Equal(t, http.StatusOK, response.StatusCode, "what a closed client knew can still be seen")
}

// TestPageShowsTrouble has partitions without a primary, errors, and texts that are no HTML.
func TestPageShowsTrouble(t *testing.T) {
	f := newFixture(t)
	hostile := `<script>alert("1")</script>`
	f.recorder.Hooks().DialEnd(pegasus.DialEnd{Node: hostile, Err: errors.New(hostile)})
	f.cluster.Replica(0).Kill()
	table, err := f.client.OpenTable(t.Context(), "temp")
	require.NoError(t, err)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, table.Set(t.Context(), []byte(key), nil, nil))
	}
	_, page := f.get(t, http.MethodGet, "/")
	require.Contains(t, page, "last trouble")
	require.Contains(t, page, "retry")
	require.Contains(t, page, "&lt;script&gt;")
	require.NotContains(t, page, "<script")

	_, page = (&fixture{handler: debug.NewHandler(f.client, nil)}).get(t, http.MethodGet, "/")
	require.NotContains(t, page, "connection lost")
}

// TestPageShowsWhatIsHeldBack has a server that cannot write, and is busy besides.
func TestPageShowsWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{MinRate: 20}))
		table, err := f.client.OpenTable(t.Context(), "temp")
		require.NoError(t, err)
		for _, replica := range f.cluster.Replicas() {
			replica.Inject(onebox.Fault{Error: wire.ErrDiskIOError, Match: onebox.OnMethod(wire.Put)})
			replica.Inject(onebox.Fault{Error: wire.ErrBusy, Match: onebox.OnMethod(wire.Get)})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		for ctx.Err() == nil {
			require.Error(t, table.Set(ctx, []byte("key"), nil, nil))
			time.Sleep(20 * time.Millisecond)
		}
		_, err = table.Get(t.Context(), []byte("key"), nil)
		require.ErrorIs(t, err, pegasus.ErrBusy)
		synctest.Wait()
		_, page := f.get(t, http.MethodGet, "/")
		all := strings.Join(rows(page), "\n")
		require.Regexp(t, `circuit for writes open for 0s, opened 1 ×; writes kept: [1-9]`, all)
		require.Regexp(t, `writes are kept from it for 0s, [1-9]`, all)
		require.Contains(t, all, "temp reads are held to 20.0 per second for 0s")
		require.Contains(t, all, "circuit open")
		require.Contains(t, all, "reads limited")
		require.Contains(t, tags.ReplaceAllString(page, ""), "reads: held to 20.0 per second for 0s, limited 1 ×; had to wait: 0; refused: 0")
		require.NotContains(t, page, "writes: ")
		_, body := f.get(t, http.MethodGet, "/?format=json")
		var view debug.View
		require.NoError(t, json.Unmarshal([]byte(body), &view))
		require.Len(t, view.Troubles, 2)
		require.InDelta(t, 20, view.Tables[0].Reads.Limit, 0.01)
	})
}

func TestJSON(t *testing.T) {
	f := newFixture(t)
	tests := map[string]struct {
		target, accept string
		json           bool
	}{
		"asked for":        {"/?format=json", "text/html", true},
		"accepted":         {"/", "application/json", true},
		"preferred":        {"/", "text/html;q=0.5, application/json", true},
		"a browser":        {"/", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		"anything":         {"/", "*/*", false},
		"nothing":          {"/", "", false},
		"nonsense":         {"/", ";;,=/q=", false},
		"the page in vain": {"/?format=html", "application/json", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := f.get(t, http.MethodGet, test.target, "Accept", test.accept)
			if !test.json {
				require.Contains(t, body, "<!DOCTYPE html>")
				return
			}
			require.Equal(t, "application/json", response.Header.Get("Content-Type"))
			var view debug.View
			require.NoError(t, json.Unmarshal([]byte(body), &view))
			require.Equal(t, f.client.Snapshot().Meta, view.Meta)
			require.Len(t, view.Tables, 1)
			require.Len(t, view.Tables[0].Partitions, 2)
			require.Len(t, view.Nodes, 6)
			require.Equal(t, []pegasus.OperationStats{{Operation: "get", Begun: 1}, {Operation: "set", Begun: 1}}, view.Operations)
			require.NotEmpty(t, view.Events)
		})
	}
}

// TestOnlyReading tries to do more.
func TestOnlyReading(t *testing.T) {
	f := newFixture(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		response, _ := f.get(t, method, "/")
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
		require.Equal(t, "GET, HEAD", response.Header.Get("Allow"))
	}
	server := httptest.NewServer(f.handler)
	defer server.Close()
	response, err := server.Client().Head(server.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Empty(t, body)
}
