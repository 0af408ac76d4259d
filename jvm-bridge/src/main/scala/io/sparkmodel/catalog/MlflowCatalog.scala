// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.catalog

import scala.jdk.CollectionConverters._
import scala.util.Try

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.access.Access
import io.sparkmodel.call.{Durations, ModelAnalysisException}
import io.sparkmodel.control.{Control, ControlClient, Json}
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.connector.catalog.{FunctionCatalog, Identifier}
import org.apache.spark.sql.connector.catalog.functions.{BoundFunction, UnboundFunction}
import org.apache.spark.sql.sparkmodel.SqlInternals
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.util.CaseInsensitiveStringMap

/**
 * The models of an MLflow registry as functions of a catalog, without any statement.
 *
 * {{{
 *   spark.sql.catalog.mlflow               io.sparkmodel.catalog.MlflowCatalog
 *   spark.sql.catalog.mlflow.registry_uri  http://mlflow:5000
 *   spark.sql.catalog.mlflow.workers       2
 *
 *   SELECT mlflow.wine(a, b), mlflow.wine.v3(a, b), mlflow.wine.champion(a, b) FROM t
 * }}}
 *
 * The first call of a model deploys a pool with the options that the catalog's settings name. All sessions share it; it
 * follows its alias, or the latest version, every `refresh` (30 s), and ends when nobody has called it for
 * `idle_timeout` (10 min).
 */
class MlflowCatalog extends FunctionCatalog {
  private val Own = Set("tracking_uri", "registry_uri", "idle_timeout")
  private var called = ""
  private var settings = Map.empty[String, String]

  override def initialize(name: String, options: CaseInsensitiveStringMap): Unit = {
    called = name
    settings = options.asCaseSensitiveMap.asScala.toMap
  }

  override def name: String = called

  override def listFunctions(namespace: Array[String]): Array[Identifier] =
    models.filter(_ => namespace.isEmpty).map(model => Identifier.of(namespace, model.path("name").asText)).toArray

  override def loadFunction(ident: Identifier): UnboundFunction = {
    val model = ident.namespace.headOption.getOrElse(ident.name)
    val known = models
    known.find(_.path("name").asText == model).map(new RegisteredModel(called, _)).getOrElse(
      throw ModelAnalysisException(
        "MODEL_NOT_FOUND", s"Cannot find model '$model'", s"the registry of catalog '$called' has no such model",
        ModelAnalysisException.suggest(model, known.map(_.path("name").asText))))
  }

  /** The card of a model, whose pool is deployed now if it is not; a version or an alias, or the latest version. */
  private[sparkmodel] def card(model: String, version: Option[Int], alias: Option[String]): JsonNode = {
    Access.checkCatalog(called, settings)
    val request = body.put("model", model).put("idle_s", Durations.seconds("idle_timeout", setting("idle_timeout", "10 min")))
    version.fold(request.putNull("version"))(request.put("version", _))
    alias.fold(request.putNull("alias"))(request.put("alias", _))
    request.set[ObjectNode]("options", Json.of(settings.filterNot { case (key, _) => Own.contains(key.toLowerCase) }))
    ask("catalog/card", request)
  }

  private def models: Seq[JsonNode] = ask("catalog/list", body).required("models").elements.asScala.toSeq

  private def body: ObjectNode = {
    val node = ControlClient.body
    Seq("tracking_uri", "registry_uri").foreach { key =>
      settings.collectFirst { case (k, value) if k.equalsIgnoreCase(key) => value }.fold(node.putNull(key))(node.put(key, _))
    }
    node
  }

  private def setting(key: String, otherwise: String): String =
    settings.collectFirst { case (k, value) if k.equalsIgnoreCase(key) => value }.getOrElse(otherwise)

  private def ask(command: String, request: ObjectNode): JsonNode =
    try Control.call(command, request)
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }
}

object MlflowCatalog {

  /** The catalog of a name, None if it is no registry of MLflow. */
  def find(session: SparkSession, name: String): Option[MlflowCatalog] =
    if (!SqlInternals.hasCatalogSetting(session, name)) None
    else Try(SqlInternals.catalog(session, name)).toOption.collect { case mlflow: MlflowCatalog => mlflow }
}

/** A model of a registry as SHOW and DESCRIBE see it; calls are not made this way. */
private class RegisteredModel(catalog: String, model: JsonNode) extends UnboundFunction {
  override def name: String = model.path("name").asText

  override def description: String = {
    val versions = model.path("versions").elements.asScala.map(v => s"v${v.asText}").mkString(", ")
    val aliases = Json.fields(model.path("aliases")).map { case (alias, of) => s"$alias -> v${of.asText}" }.mkString(", ")
    Seq(
      model.path("description").asText(""),
      s"Versions: $versions.",
      if (aliases.isEmpty) "" else s"Aliases: $aliases.",
      s"Call it as $catalog.$name(...), $catalog.$name.v1(...) or $catalog.$name.alias(...).").filter(_.nonEmpty).mkString(" ")
  }

  override def bind(inputType: StructType): BoundFunction =
    throw new UnsupportedOperationException("models are called in queries, which the session's extension resolves")
}
