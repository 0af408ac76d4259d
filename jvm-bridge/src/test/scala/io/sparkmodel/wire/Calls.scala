// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{BufferedReader, InputStreamReader, PrintStream}
import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.ConcurrentHashMap

import com.fasterxml.jackson.core.StreamReadConstraints
import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import com.fasterxml.jackson.databind.node.ObjectNode

/** Answers calls that come as lines of JSON on standard input, each in a thread of its own, until the input ends. */
final class Calls(answer: (String, JsonNode) => Any) {
  private val json = new ObjectMapper()
  json.getFactory.setStreamReadConstraints(StreamReadConstraints.builder().maxStringLength(1 << 28).build())
  private val threads = new ConcurrentHashMap[Long, Thread]()
  private val out = new PrintStream(System.out, true, UTF_8)

  def run(): Unit = {
    System.setOut(System.err) // lines on standard output are answers
    val in = new BufferedReader(new InputStreamReader(System.in, UTF_8))
    Iterator.continually(in.readLine()).takeWhile(_ != null).foreach { line =>
      val request = json.readTree(line)
      val number = request.required("id").asLong
      val thread = new Thread(() => serve(number, request), s"call-$number")
      thread.setDaemon(true)
      threads.put(number, thread)
      thread.start()
    }
  }

  /** Interrupt the thread of a call. */
  def interrupt(number: Long): Unit = Option(threads.get(number)).foreach(_.interrupt())

  private def serve(number: Long, request: JsonNode): Unit = {
    val reply = json.createObjectNode().put("id", number)
    try {
      val result = answer(request.required("op").asText, request) match {
        case () => null
        case other => other
      }
      reply.set[JsonNode]("result", json.valueToTree[JsonNode](result))
    } catch { case e: Throwable => reply.set[JsonNode]("error", describe(e)) }
    threads.remove(number)
    val line = json.writeValueAsString(reply)
    out.synchronized(out.println(line))
  }

  private def describe(e: Throwable): ObjectNode = {
    val parts = json.createObjectNode().put("class", e.getClass.getName).put("message", String.valueOf(e.getMessage))
    Option(e.getCause).foreach(cause => parts.put("cause", cause.getClass.getName))
    e match {
      case model: ModelException =>
        parts.put("condition", model.condition).put("what", model.what).put("fact", model.fact)
        parts.put("hint", model.hint).put("details", model.details)
      case _ => parts
    }
  }
}
