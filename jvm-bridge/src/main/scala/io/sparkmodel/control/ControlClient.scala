// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.io.IOException
import java.net.URI
import java.net.http.{HttpClient, HttpRequest, HttpResponse}
import java.nio.charset.StandardCharsets.UTF_8
import java.time.Duration

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.wire.ModelException

/** The control service was not there to answer; what was asked may be asked of its successor. */
class ControlLostException(cause: Throwable) extends RuntimeException(cause)

/** Speaks to the Python that owns the pools. Predictions never come this way. */
class ControlClient(port: Int, token: String) {
  // to be there takes no time on one host; what it is asked for may take minutes
  private lazy val http =
    HttpClient.newBuilder.version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build()

  /** Ask for something, and wait until it is done; a model may take minutes to load. */
  def call(command: String, body: ObjectNode): JsonNode = {
    val request = HttpRequest.newBuilder(URI.create(s"http://127.0.0.1:$port/v1/$command"))
      .header("Authorization", s"Bearer $token")
      .header("Content-Type", "application/json")
      .POST(HttpRequest.BodyPublishers.ofString(body.toString, UTF_8))
      .build()
    val answer =
      try http.send(request, HttpResponse.BodyHandlers.ofString(UTF_8))
      catch { case error: IOException => throw new ControlLostException(error) }
    val parsed = ControlClient.json.readTree(answer.body)
    if (answer.statusCode == 200) parsed
    else {
      def text(key: String) = parsed.path(key).asText("")
      throw new ModelException(text("condition"), text("what"), text("fact"), text("hint"), text("details"))
    }
  }

  override def toString: String = s"ControlClient(127.0.0.1:$port)"
}

object ControlClient {
  val json = new ObjectMapper()

  def body: ObjectNode = json.createObjectNode()
}
