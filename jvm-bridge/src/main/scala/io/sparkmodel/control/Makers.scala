// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.wire.ModelException
import org.slf4j.LoggerFactory

/** How a model is made; the request is what changes with it. */
abstract class Maker(val request: ObjectNode) {
  def make(client: ControlClient): Unit
}

/** How the models of this driver were made, for a control process that takes over from one that died. */
object Makers {
  private val log = LoggerFactory.getLogger("io.sparkmodel.control")
  private val makers = new ConcurrentHashMap[String, Maker]

  def isEmpty: Boolean = makers.isEmpty

  def remember(name: String, maker: Maker): Unit = makers.put(name.toLowerCase, maker)

  /** Keep a model as it is after a change. */
  def follow(name: String, card: JsonNode): Unit = Option(makers.get(name.toLowerCase)).foreach { maker =>
    if (maker.request.hasNonNull("location")) maker.request.put("location", card.path("source").asText)
    maker.request.set[ObjectNode]("options", card.path("options"))
  }

  def forget(name: String): Unit = makers.remove(name.toLowerCase)

  def clear(): Unit = makers.clear()

  /** Make the models again that died with a control process. */
  def restore(client: ControlClient): Unit = makers.asScala.foreach { case (name, maker) =>
    try maker.make(client)
    catch { case error: ModelException => log.warn(s"model '$name' could not be made again: ${error.getMessage}") }
  }
}
