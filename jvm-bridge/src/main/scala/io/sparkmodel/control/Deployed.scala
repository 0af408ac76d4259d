// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.sql.{CallSettings, ModelAnalysisException, ModelFunction, Users}
import io.sparkmodel.wire.{Handle, ModelException}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.sparkmodel.{CoreInternals, SqlInternals}
import org.slf4j.LoggerFactory

/** What the control service tells of a model. */
class Card(val json: JsonNode) {
  val name: String = json.required("name").asText
  private val text = json.required("handle").asText
  val handle: Handle = Handle.find(text.getBytes("UTF-8")).get

  def function: ModelFunction = {
    val command = json.path("command").asText("")
    if (command.isEmpty) ModelFunction.ofText(name, text, handle)
    else new ModelFunction(name, handle, CoreInternals.pythonFunction(
      java.util.Base64.getDecoder.decode(command),
      json.path("python").asText("python3"),
      json.path("python_version").asText("")))
  }
}

/** The models of this driver's control service, and who has called them. */
object Deployed {
  private val log = LoggerFactory.getLogger("io.sparkmodel.control")
  private val makers = new ConcurrentHashMap[String, Maker]

  /** How a model is made; the request is what changes with it. */
  abstract class Maker(val request: ObjectNode) {
    def make(client: ControlClient): Unit
  }

  /** A model by name, as it is now. */
  final class Target(card: Card) {
    def function(session: SparkSession, settings: CallSettings): Seq[Expression] => Expression = {
      Users.note(session, card.name)
      ofCard(session, card, settings)
    }
  }

  /**
   * The model of a name.
   *
   * @param isCertain whether the name must be a model's; else it may be that of a function in the catalog
   */
  def find(session: SparkSession, name: String, isCertain: Boolean): Option[Target] =
    if (isIdle || !isCertain && SqlInternals.hasPersistentFunction(session, name)) None
    else
      try Some(card(name)).filter(found => isVisible(session, found.json)).map(new Target(_))
      catch {
        case error: ModelException if error.condition == "MODEL_NOT_FOUND" => None
        case error: ModelException => throw ModelAnalysisException.from(error)
      }

  /** Whether a session may see the model of a card: a temporary one belongs to the session that made it. */
  def isVisible(session: SparkSession, card: JsonNode): Boolean =
    !isTemporary(card) || card.path("statement").path("session").asText == SqlInternals.id(session)

  def isTemporary(card: JsonNode): Boolean = card.path("statement").path("temporary").asBoolean

  /** A model whose card is at hand. */
  def ofCard(session: SparkSession, card: Card, settings: CallSettings): ModelFunction =
    if (settings.isEmpty) card.function else withSettings(session, card.name, settings)

  /** A model that is a function of the session already, called with settings. */
  def ofFunction(
      session: SparkSession, function: ModelFunction, settings: CallSettings): Seq[Expression] => Expression = {
    if (!Control.isRunning) throw ModelAnalysisException(
      "INVALID_OPTION", s"Cannot use options in a call of model '${function.name}'",
      "it was taken from a handle, and no control service is at hand", "register the model in this session")
    withSettings(session, function.handle.name, settings).named(function.name)
  }

  /** Whether there can be no models: nobody has made one, and no cluster was named that may have some. */
  def isIdle: Boolean = !Control.isRunning && makers.isEmpty && !Control.hasCluster

  def names: Seq[String] =
    if (isIdle) Nil
    else Control.call("list", ControlClient.body).required("models").elements.asScala.map(_.path("name").asText).toSeq

  /** Remember how a model was made, for a control process that takes over from one that died. */
  def remember(name: String, maker: Maker): Unit = makers.put(name.toLowerCase, maker)

  /** ... as it is after a change. */
  def follow(name: String, card: JsonNode): Unit = Option(makers.get(name.toLowerCase)).foreach { maker =>
    if (maker.request.hasNonNull("location")) maker.request.put("location", card.path("source").asText)
    maker.request.set[ObjectNode]("options", card.path("options"))
  }

  def forget(name: String): Unit = makers.remove(name.toLowerCase)

  def clear(): Unit = makers.clear()

  /** Make the models again that died with a control process. */
  private[control] def restore(client: ControlClient): Unit = makers.asScala.foreach { case (name, maker) =>
    try maker.make(client)
    catch { case error: ModelException => log.warn(s"model '$name' could not be made again: ${error.getMessage}") }
  }

  private def card(name: String, settings: CallSettings = CallSettings()): Card = {
    val body = ControlClient.body.put("name", name)
    if (settings.params.nonEmpty) body.set[ObjectNode]("params", Json.of(settings.params))
    settings.onError.foreach(body.put("on_error", _))
    settings.timeoutS.foreach(body.put("timeout_s", _))
    settings.version.foreach(body.put("version", _))
    new Card(Control.call("card", body))
  }

  private def withSettings(session: SparkSession, name: String, settings: CallSettings): ModelFunction =
    try card(name, settings).function.named(name) // that of another version is a model of another name
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }
}

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
