// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode

/** Scala values as JSON, and back. */
object Json {
  def fields(node: JsonNode): Seq[(String, JsonNode)] =
    node.fieldNames.asScala.map(name => name -> node.get(name)).toSeq

  def of(value: Any): JsonNode = value match {
    case map: Map[_, _] =>
      val node = ControlClient.body
      map.foreach { case (key, item) => node.set[JsonNode](key.toString, of(item)) }
      node
    case items: Seq[_] =>
      val node = ControlClient.json.createArrayNode()
      items.foreach(item => node.add(of(item)))
      node
    case Some(item) => of(item)
    case None => ControlClient.json.nullNode
    case other => ControlClient.json.valueToTree[JsonNode](other)
  }
}
