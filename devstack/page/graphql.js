// GraphQL with Hasura: requests over HTTP, a subscription over graphql-transport-ws.

import { session } from "./backend.js";
import { exchangeStarted } from "./exchanges.js";

/** Run a query or mutation as the visitor; throws what Hasura says, with its code. */
export async function request(query, variables) {
  const { token, graphql_url: url } = await session();
  const exchange = exchangeStarted({ query, variables, url, token });
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
    });
    const answer = await response.json();
    exchange.answered(answer);
    if (answer.errors) {
      const [{ message, extensions }] = answer.errors;
      throw Object.assign(new Error(message), { code: extensions?.code });
    }
    return answer.data;
  } catch (error) {
    exchange.failed(error);
    throw error;
  }
}

/** Keep a subscription open: `onData` gets each answer, `onState` "live" or "reconnecting". */
export async function subscribe(query, { onData, onState }) {
  const exchange = exchangeStarted({ query });
  let failures = 0;
  for (;;) {
    try {
      const { token, graphql_url: url } = await session({ fresh: failures > 0 });
      await listen(url, token, query, (answer) => {
        failures = 0;
        exchange.answered(answer);
        onState("live");
        onData(answer.data);
      });
    } catch (error) {
      exchange.failed(error);
    }
    onState("reconnecting");
    await new Promise((wake) => setTimeout(wake, Math.min(10_000, 500 * 2 ** failures++)));
  }
}

/** Listen to one subscription until the connection ends; throws what Hasura refuses. */
function listen(url, token, query, onAnswer) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace(/^http/, "ws"), "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () =>
      send({ type: "connection_init", payload: { headers: { authorization: `Bearer ${token}` } } });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      switch (message.type) {
        case "connection_ack":
          send({ type: "subscribe", id: "1", payload: { query } });
          break;
        case "next":
          onAnswer(message.payload);
          break;
        case "ping":
          send({ type: "pong" });
          break;
        case "error":
          reject(new Error(message.payload[0].message));
          socket.close();
          break;
      }
    };
    socket.onclose = ({ reason }) => (reason ? reject(new Error(reason)) : resolve());
  });
}
